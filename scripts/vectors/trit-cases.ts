/** Cases about trits and scales. */
import { FRAME_CELLS } from '../../compress/codecs/frames.ts'
import type { ContainerHeader } from '../../compress/container-table.ts'
import type { Scales } from '../../compress/quantized-tensor.ts'
import { type Dtype, fromF32 } from '../../tensors/dtype.ts'
import { LORA, one, perColumn, perRow, raw, trits, type ValidCase } from './case.ts'
import { Random } from './random.ts'

export function lora(codec: ValidCase['codec']): ValidCase {
  const random = new Random(1)
  const ranks = random.bf16(8)
  // Rows and columns of very different density: what SGR's classes are for.
  const uneven = (row: number, col: number) => 0.3 * ((row % 8) / 8) ** 2 * (col % 5 === 0 ? 3 : 0.5)
  const header: ContainerHeader = {
    ...LORA,
    base: { digest: `sha256:${'0123456789abcdef'.repeat(4)}`, repo: 'acme/base', revision: 'c0ffee'.padEnd(40, '0') },
    options: { density: 0.1, scale: 'norm', scope: 'tensor', transform: 'svd', codec },
    metadata: { format: 'pt' },
    adapterConfig: { peft_type: 'LORA', r: 8, lora_alpha: 16, target_modules: ['query'] },
  }
  const module = 'base_model.model.encoder.layer.0.attention.query'
  return {
    name: `lora-${codec}`,
    description: 'a LoRA pair that shares its scales per rank, a tensor with scales of its own, a lossless head',
    codec,
    header,
    tensors: [
      trits(`${module}.lora_A.weight`, [8, 300], random.trits(8, 300, uneven), perRow(ranks)),
      trits(
        `${module}.lora_B.weight`,
        [200, 8],
        random.trits(200, 8, (r, c) => uneven(c, r)),
        perColumn(ranks),
      ),
      trits(
        'base_model.model.extra',
        [40, 50],
        random.trits(40, 50, () => 0.05),
        perRow(random.bf16(40)),
      ),
      trits(
        'base_model.model.extra2',
        [4, 10, 50],
        random.trits(40, 50, () => 0.05),
        one(0.0123),
      ),
      raw('base_model.model.classifier.weight', 'F32', [3, 20], fromF32(random.weights(60), 'F32')),
    ],
  }
}

export function frames(codec: ValidCase['codec']): ValidCase {
  const random = new Random(2)
  const sparse = () => 0.002
  const long = FRAME_CELLS + 5
  return {
    name: `frames-${codec}`,
    description:
      'slices of every kind: shared frames, a tensor over several, a row longer than a frame, none, one entry',
    codec,
    header: LORA,
    tensors: [
      trits(
        'first',
        [20, 30],
        random.trits(20, 30, () => 0.1),
        one(1),
      ),
      trits(
        'over.two.frames',
        [700, 500],
        random.trits(700, 500, (row) => (row % 9 === 0 ? 0.02 : 0.0005)),
        one(2),
      ),
      trits(
        'behind.its.end',
        [10, 10],
        random.trits(10, 10, () => 0.2),
        one(3),
      ),
      trits('no.rows', [0, 7], [], one(4)),
      trits('no.cols', [7, 0], [], perRow(random.bf16(7))),
      trits('scalar', [], [-1], one(5)),
      trits('long.rows', [2, long], random.trits(2, long, sparse), perColumn(new Float32Array(long).fill(0.5))),
      trits(
        'vector',
        [77],
        random.trits(1, 77, () => 0.2),
        one(6),
      ),
      trits('last.of.all', [300, 1000], random.trits(300, 1000, sparse), perRow(random.bf16(300))),
    ],
  }
}

export function extremes(codec: ValidCase['codec']): ValidCase {
  const random = new Random(3)
  return {
    name: `extremes-${codec}`,
    description: 'no non-zero, all non-zero, half of them, all of one sign, one at either end',
    codec,
    header: LORA,
    tensors: [
      trits('none', [30, 40], new Int8Array(1200), one(1)),
      trits(
        'all',
        [30, 40],
        random.trits(30, 40, () => 1),
        one(1),
      ),
      trits(
        'half',
        [30, 40],
        random.trits(30, 40, () => 0.5),
        one(1),
      ),
      trits('plus', [30, 40], new Int8Array(1200).fill(1), one(1)),
      trits('minus', [30, 40], new Int8Array(1200).fill(-1), one(1)),
      trits(
        'ends',
        [30, 40],
        Int8Array.from({ length: 1200 }, (_, i) => (i === 0 ? 1 : i === 1199 ? -1 : 0)),
        one(1),
      ),
      trits(
        'one.row',
        [30, 40],
        Int8Array.from({ length: 1200 }, (_, i) => (i >> 3 === 50 ? 1 : 0)),
        one(1),
      ),
    ],
  }
}

export function ia3(): ValidCase {
  const random = new Random(9)
  return {
    name: 'ia3',
    description: 'an (IA)3 adapter: trits around one',
    codec: 'bitplane',
    header: { ...LORA, kind: 'ia3', origin: 'one' },
    tensors: [
      trits(
        'm.ia3_l.weight',
        [1, 300],
        random.trits(1, 300, () => 0.2),
        one(0.07),
        'BF16',
      ),
      trits(
        'n.ia3_l.weight',
        [300, 1],
        random.trits(300, 1, () => 0.2),
        one(0.07),
      ),
    ],
  }
}

export function gain(): ValidCase {
  const random = new Random(10)
  return {
    name: 'gain',
    description: 'the scale times the gain is rounded once',
    codec: 'rice',
    header: LORA,
    gain: 1.3,
    tensors: [
      trits(
        'a',
        [50],
        random.trits(1, 50, () => 0.5),
        one(0.1),
      ),
      trits(
        'b',
        [5, 10],
        random.trits(5, 10, () => 0.5),
        perRow(random.bf16(5)),
        'F16',
      ),
    ],
  }
}

/** Three layers, several frames, lossless chunks in between. */
export function layers(codec: ValidCase['codec']): ValidCase {
  const random = new Random(14)
  const layered = (name: string, shape: [number, number], scales: Scales, dtype: Dtype = 'F32') => {
    const layer = (density: number) => random.trits(...shape, () => density)
    return { ...trits(name, shape, layer(0.001), scales, dtype), finer: [layer(0.01), layer(0.1)] }
  }
  const ranks = random.bf16(8)
  return {
    name: `layers-${codec}`,
    description: 'three layers of trits worth 9, 3 and 1 scales; the lossless tensor lies behind the first layer',
    codec,
    header: LORA,
    gain: 0.9,
    tensors: [
      layered('m.lora_A.weight', [8, 300], perRow(ranks)),
      raw('m.bias', 'F32', [30], fromF32(random.weights(30), 'F32')),
      layered('m.lora_B.weight', [200, 8], perColumn(ranks), 'BF16'),
      layered('over.two.frames', [700, 500], one(0.3), 'F16'),
    ],
  }
}

export function sharedScales(): ValidCase {
  const random = new Random(11)
  const [a, b] = [random.bf16(6), random.bf16(6)]
  const dense = () => random.trits(6, 6, () => 0.3)
  return {
    name: 'shared-scales',
    description:
      'scales taken from the tensor before, from one further back, through a third; never one f32 for a bf16',
    codec: 'rice',
    header: LORA,
    tensors: [
      trits('a.0', [6, 6], dense(), perRow(a)),
      trits('b.0', [6, 6], dense(), perColumn(b)),
      trits('a.1', [6, 6], dense(), perColumn(a)),
      trits('b.1', [6, 6], dense(), perRow(b)),
      trits('b.2', [6, 6], dense(), perRow(b)),
      trits(
        'c.0',
        [1, 6],
        random.trits(1, 6, () => 0.5),
        perRow(Float32Array.of(0.5)),
      ),
      trits(
        'c.1',
        [1, 6],
        random.trits(1, 6, () => 0.5),
        one(0.5),
      ),
      trits('c.2', [6, 6], dense(), one(0.5)),
    ],
  }
}

export function scaleValues(): ValidCase {
  const values = [0, 2 ** -149, 2 ** -126, 1, 3.4028234663852886e38]
  const wide = new Float32Array(Uint32Array.of(0, 0x00010000, 0x00800000, 0x3f800000, 0x7f7f0000).buffer)
  return {
    name: 'scale-values',
    description: 'scales of zero, subnormal and largest, as f32 and as bf16',
    codec: 'rice',
    header: LORA,
    tensors: [
      ...values.map((value, i) => trits(`f32.${i}`, [2], [1, -1], one(value))),
      trits('bf16', [5, 2], [1, -1, 1, -1, 1, -1, 1, -1, 1, -1], perRow(wide)),
      trits('f64', [5, 2], [1, -1, 1, -1, 1, -1, 1, -1, 1, -1], perRow(wide), 'F64'),
    ],
  }
}

export function manySmallTensors(): ValidCase {
  const random = new Random(12)
  return {
    name: 'many-small-tensors',
    description: 'many tensors in one frame, in layers that name prefixes share',
    codec: 'sgr',
    header: LORA,
    tensors: Array.from({ length: 120 }, (_, i) => {
      const [rows, cols] = [4 + (i % 3), 30 + (i % 7)]
      const name = `model.layers.${i >> 2}.${['q', 'k', 'v', 'o'][i & 3]}_proj.weight`
      return trits(
        name,
        [rows, cols],
        random.trits(rows, cols, () => 0.06),
        one(1 + (i >> 3)),
        'BF16',
      )
    }),
  }
}
