/** Cases about lossless bytes, names and the base. */
import { type Dtype, dtypeBytes, fromF32 } from '../../tensors/dtype.ts'
import { type BaseTensor, FULL, LORA, one, perRow, raw, trits, type ValidCase } from './case.ts'
import { Random } from './random.ts'

export function empty(): ValidCase {
  return { name: 'empty', description: 'no tensor at all', codec: 'rice', header: LORA, tensors: [] }
}

export function dtypes(): ValidCase {
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

export function lossless(): ValidCase {
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

export function chunks(): ValidCase {
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

export function full(): ValidCase {
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

export function fullWithMappedNames(): ValidCase {
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

export function names(): ValidCase {
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
