/** The containers of spec/vectors/valid, as plain arrays. What a reader must make of them is computed from these alone. */
import { FRAME_CELLS } from '../../compress/codecs/frames.ts'
import type { ContainerHeader } from '../../compress/container-table.ts'
import type { Scales } from '../../compress/quantized-tensor.ts'
import { type Dtype, dtypeBytes, fromF32 } from '../../tensors/dtype.ts'
import type { LosslessSpec, TensorSpec, TritSpec } from '../../test/unit/compress/container-builder.ts'
import { Random } from './random.ts'

export interface ValidCase {
  readonly name: string
  readonly description: string
  readonly codec: 'bitplane' | 'rice' | 'sgr'
  readonly header: ContainerHeader
  readonly tensors: readonly TensorSpec[]
  /** By the base's names. */
  readonly base?: Readonly<Record<string, BaseTensor>>
  readonly gain?: number
}

export interface BaseTensor {
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
}

const CODECS = ['bitplane', 'rice', 'sgr'] as const
const LORA: ContainerHeader = { kind: 'lora', origin: 'zero', base: null, options: {}, metadata: {} }
const FULL: ContainerHeader = { ...LORA, kind: 'full', origin: 'base', base: { digest: `sha256:${'ab'.repeat(32)}` } }

export function validCases(): ValidCase[] {
  return [
    empty(),
    ...CODECS.map(lora),
    ...CODECS.map(frames),
    ...CODECS.map(extremes),
    dtypes(),
    lossless(),
    chunks(),
    full(),
    fullWithMappedNames(),
    ia3(),
    gain(),
    names(),
    sharedScales(),
    scaleValues(),
    manySmallTensors(),
  ]
}

const one = (value: number): Scales => ({ axis: 'tensor', values: Float32Array.of(value) })
const perRow = (values: Float32Array): Scales => ({ axis: 'row', values })
const perColumn = (values: Float32Array): Scales => ({ axis: 'column', values })

function trits(
  name: string,
  shape: number[],
  values: ArrayLike<number>,
  scales: Scales,
  dtype: Dtype = 'F32',
): TritSpec {
  return { name, dtype, shape, trits: values, scales }
}

function raw(name: string, dtype: Dtype, shape: number[], bytes: Uint8Array, reference?: Uint8Array): LosslessSpec {
  return { name, dtype, shape, bytes, ...(reference ? { reference } : {}) }
}

function empty(): ValidCase {
  return { name: 'empty', description: 'no tensor at all', codec: 'rice', header: LORA, tensors: [] }
}

function lora(codec: ValidCase['codec']): ValidCase {
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

function frames(codec: ValidCase['codec']): ValidCase {
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

function extremes(codec: ValidCase['codec']): ValidCase {
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

function dtypes(): ValidCase {
  const random = new Random(4)
  const floating: Dtype[] = ['F64', 'F32', 'F16', 'BF16']
  const others: Dtype[] = ['F8_E4M3', 'F8_E5M2', 'F8_E8M0', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ', 'C64', 'I64', 'I32', 'I16']
  const all: Dtype[] = [...floating, ...others, 'I8', 'U64', 'U32', 'U16', 'U8', 'BOOL']
  return {
    name: 'dtypes',
    description: 'trits of every floating dtype, lossless tensors of every dtype, packed and as they are',
    codec: 'sgr',
    header: LORA,
    tensors: [
      ...floating.map((dtype) =>
        trits(
          `trits.${dtype}`,
          [6, 9],
          random.trits(6, 9, () => 0.3),
          one(0.1),
          dtype,
        ),
      ),
      ...all.map((dtype) => raw(`noise.${dtype}`, dtype, [2, 3], random.bytes(6 * dtypeBytes(dtype)))),
      ...all.map((dtype) => raw(`ramp.${dtype}`, dtype, [50], ramp(50, dtypeBytes(dtype)))),
    ],
  }
}

/** Little-endian counters: the planes of their upper bytes are constant. */
function ramp(count: number, size: number): Uint8Array {
  return Uint8Array.from({ length: count * size }, (_, i) => (i % size === 0 ? i / size : 0))
}

function lossless(): ValidCase {
  const random = new Random(5)
  const same = fromF32(random.weights(300), 'F16')
  const nearly = same.map((byte, i) => (i % 100 === 0 ? byte ^ 1 : byte))
  const other = random.bytes(600)
  const base = (bytes: Uint8Array): BaseTensor => ({ dtype: 'F16', shape: [300], bytes })
  return {
    name: 'lossless',
    description: 'with and without a reference, scalars and empty tensors, raw where packing gains nothing',
    codec: 'rice',
    header: { ...FULL, baseNames: { 'x.same': 'same', 'x.nearly': 'nearly' } },
    base: { same: base(same), nearly: base(same), other: base(other) },
    tensors: [
      raw('x.same', 'F16', [300], same, same),
      raw('x.nearly', 'F16', [300], nearly, same),
      raw('other', 'F16', [300], fromF32(new Float32Array(300).fill(0.5), 'F16'), other),
      raw('noise', 'U8', [100], random.bytes(100)),
      raw('scalar', 'I64', [], Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)),
      raw('nothing', 'F32', [3, 0, 2], new Uint8Array(0)),
    ],
  }
}

function chunks(): ValidCase {
  const random = new Random(6)
  const chunk = 2 ** 22
  const bytes = new Uint8Array(2 * chunk + 40)
  bytes.set(random.bytes(200), chunk - 100)
  bytes.set(random.bytes(40), 2 * chunk)
  return {
    name: 'chunks',
    description: 'a lossless tensor of two packed chunks and a raw one',
    codec: 'rice',
    header: LORA,
    tensors: [raw('long', 'F32', [bytes.length / 4], bytes)],
  }
}

function full(): ValidCase {
  const random = new Random(7)
  const shape = [20, 30]
  const weights = (dtype: Dtype): BaseTensor => ({ dtype, shape, bytes: fromF32(random.weights(600), dtype) })
  return {
    name: 'full',
    description: 'a full fine-tune: trits on base weights of four dtypes, base names without a prefix',
    codec: 'sgr',
    header: { ...FULL, baseNames: { 'bert.a': 'a', 'bert.b': 'b', 'bert.c': 'c', 'bert.d': 'd' } },
    base: { a: weights('F16'), b: weights('F32'), c: weights('BF16'), d: weights('F64') },
    tensors: [
      trits(
        'bert.a',
        shape,
        random.trits(20, 30, () => 0.1),
        one(0.003),
        'F16',
      ),
      trits(
        'bert.b',
        shape,
        random.trits(20, 30, () => 0.1),
        one(0.003),
        'F32',
      ),
      trits(
        'bert.c',
        shape,
        random.trits(20, 30, () => 0.1),
        one(0.003),
        'BF16',
      ),
      trits(
        'bert.d',
        shape,
        random.trits(20, 30, () => 0.1),
        perRow(random.bf16(20)),
        'F16',
      ),
    ],
  }
}

function fullWithMappedNames(): ValidCase {
  const random = new Random(8)
  const base = { dtype: 'F32', shape: [9], bytes: fromF32(random.weights(9), 'F32') } as const
  return {
    name: 'base-names-map',
    description: 'base names that no prefix explains',
    codec: 'rice',
    header: { ...FULL, baseNames: { 'm.a': 'x', 'm.b': 'm.c' } },
    base: { x: base, 'm.c': base, 'm.d': base },
    tensors: ['m.a', 'm.b', 'm.d'].map((name) =>
      trits(
        name,
        [9],
        random.trits(1, 9, () => 0.5),
        one(0.5),
      ),
    ),
  }
}

function ia3(): ValidCase {
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

function gain(): ValidCase {
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

function names(): ValidCase {
  const odd = [
    '',
    '.',
    '..',
    'a',
    'a.b',
    'a.b.c',
    'a.b.d',
    'a.bb',
    'é.ü',
    'é.ü.😀',
    '"\\\n\u2028',
    '__proto__',
    'x'.repeat(1024),
  ]
  return {
    name: 'names',
    description: 'names of every kind, the longest included, and metadata with odd keys',
    codec: 'rice',
    header: { ...LORA, metadata: JSON.parse('{"__proto__":"p","":"empty","é":"\\u2028"}') },
    tensors: odd.map((name, i) => raw(name, 'U8', [1], Uint8Array.of(i))),
  }
}

function sharedScales(): ValidCase {
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

function scaleValues(): ValidCase {
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

function manySmallTensors(): ValidCase {
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
