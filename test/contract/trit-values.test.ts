/** TritCodec.decodeInto against applyTrits of what decodeFrame gives: the same bits, or the same refusal. */
import { describe, expect, test } from 'vitest'
import { FRAME_CELLS } from '../../compress/codecs/frames.ts'
import { sgr } from '../../compress/codecs/sgr.ts'
import { encodeStrataFrame } from '../../compress/codecs/sgr-frame.ts'
import { wasmCoder } from '../../compress/codecs/sgr-wasm.ts'
import type { EncodePart, FramePart, TritCodec } from '../../compress/codecs/trit-codec.ts'
import { applyTrits, type TritTarget, type ValueDtype, type Values } from '../../compress/codecs/trit-values.ts'
import { CompressError } from '../../compress/errors.ts'
import { wasmHeap } from '../../compress/kernels/wasm-heap.ts'
import { random } from '../fixtures/random.ts'
import { encodeFrames, largestOfNormal, type TritTensor, tritTensor } from '../fixtures/trits.ts'

const DTYPES = ['F32', 'F16', 'BF16'] as const
const AXES = ['tensor', 'row', 'column'] as const
const OPERATIONS = ['write', 'add'] as const

function filled(rows: number, cols: number, trit: (i: number) => number): TritTensor {
  return tritTensor(
    rows,
    cols,
    Array.from({ length: rows * cols }, (_, i) => trit(i)),
  )
}

/** One tensor each, so that every frame is a single part. */
const CASES: Record<string, TritTensor> = {
  'a scalar': filled(1, 1, () => -1),
  'no non-zeros': filled(9, 13, () => 0),
  'no zeros': filled(170, 310, (i) => (i % 2 === 0 ? 1 : -1)),
  'rows and columns of one density': largestOfNormal(300, 400, 0.05, 1),
  'dense rows and columns': largestOfNormal(400, 500, 0.1, 2, 1),
  'dense rows': tritTensor(
    200,
    64,
    Array.from({ length: 12_800 }, (_, i) => (i % 3 < (Math.floor(i / 640) % 2 ? 3 : 0) ? 1 : 0)),
  ),
  'one row': largestOfNormal(1, 5000, 0.1, 3),
  'one column': largestOfNormal(5000, 1, 0.1, 4),
  'several frames with classes': largestOfNormal(350, 1000, 0.1, 5, 0.7),
  'several frames without': largestOfNormal(300, 1000, 0.05, 6),
  'rows longer than a frame': filled(2, FRAME_CELLS + 5, (i) => (i % 97 === 0 ? (i % 2 ? 1 : -1) : 0)),
  'strictly periodic entries, coded as Rice': filled(64, 256, (i) => (i % 16 === 0 ? 1 : 0)),
}

/** Bit patterns of all kinds: subnormals, infinities, quiet and signalling NaNs, both zeros, ordinary numbers. */
function values(dtype: ValueDtype, length: number, seed: number): Values {
  const uniform = random(seed)
  const codes = dtype === 'F32' ? new Uint32Array(length) : new Uint16Array(length)
  const special =
    dtype === 'F32'
      ? [0, 0x8000_0000, 1, 0x7f80_0000, 0xff80_0000, 0x7f80_0001, 0x7fc0_0000, 0xffc1_2345, 0x7f7f_ffff]
      : dtype === 'F16'
        ? [0, 0x8000, 1, 0x83ff, 0x7c00, 0xfc00, 0x7c01, 0x7e00, 0xfdff, 0x7bff, 0x0400]
        : [0, 0x8000, 1, 0x807f, 0x7f80, 0xff80, 0x7f81, 0x7fc0, 0xffbf, 0x7f7f, 0x0080]
  for (let i = 0; i < length; i++)
    codes[i] = uniform() < 0.2 ? special[Math.floor(uniform() * special.length)]! : uniform() * 2 ** 32
  return codes instanceof Uint16Array ? codes : new Float32Array(codes.buffer)
}

function pairsFor(target: Pick<TritTarget, 'operation' | 'dtype' | 'axis'>, { rows, cols }: TritTensor): Uint32Array {
  const count = target.axis === 'tensor' ? 1 : target.axis === 'row' ? rows : cols
  const uniform = random(count)
  const scale = (i: number) =>
    i % 11 === 7 ? Number.POSITIVE_INFINITY : uniform() * 2 ** (Math.floor(uniform() * 40) - 28)
  const floats = Float32Array.from({ length: 2 * count }, (_, i) => (i % 2 === 0 ? scale(i / 2) : -uniform()))
  const bits = new Uint32Array(floats.buffer)
  if (target.operation === 'add' || target.dtype === 'F32') return bits
  return bits.map((word) => word >>> 16)
}

function targetOf(
  operation: TritTarget['operation'],
  dtype: ValueDtype,
  axis: TritTarget['axis'],
  pairs: Uint32Array,
  part: FramePart,
): TritTarget {
  const common = { dtype, axis, pairs, out: values(dtype, part.cells, 9) }
  if (operation === 'write') return { operation, ...common, zero: 0x3f80 }
  return { operation, ...common, from: values(dtype, part.cells, part.start + 1) }
}

function patterns({ out }: TritTarget): Uint8Array {
  return new Uint8Array(out.buffer, out.byteOffset, out.byteLength).slice()
}

function expected(part: EncodePart, target: TritTarget): Uint8Array {
  const copy = { ...target, out: target.out.slice() }
  applyTrits(part.positions, part, copy)
  return patterns(copy)
}

const codec: TritCodec = sgr

/** The frames as the codec chooses their form, and all in strata, which is the form that has a direct way. */
function frameForms(tensor: TritTensor): { bytes: Uint8Array; part: EncodePart; isStrata: boolean }[] {
  const wasm = wasmCoder(wasmHeap()!)
  return encodeFrames(codec, [tensor]).flatMap(({ bytes, parts }) => [
    { bytes, part: parts[0]!, isStrata: false },
    { bytes: encodeStrataFrame(wasm, parts), part: parts[0]!, isStrata: true },
  ])
}

describe('decoding straight to numbers (sgr)', () => {
  test.each(Object.keys(CASES))('gives the same bits as positions do: %s', (what) => {
    const tensor = CASES[what]!
    for (const { bytes, part, isStrata } of frameForms(tensor)) {
      for (const operation of OPERATIONS)
        for (const dtype of DTYPES)
          for (const axis of AXES) {
            const target = targetOf(operation, dtype, axis, pairsFor({ operation, dtype, axis }, tensor), part)
            const before = patterns(target)
            const want = expected(part, target)
            const done = codec.decodeInto!(bytes, part, target)
            // Buffers, because comparing typed arrays element by element takes seconds.
            const isAsWanted = Buffer.compare(patterns(target), done ? want : before) === 0
            expect(isAsWanted, `${operation} ${dtype} ${axis} at ${part.start}`).toBe(true)
            if (isStrata) expect(done).toBe(axis !== 'column' || tensor.cols <= FRAME_CELLS)
          }
    }
  })

  test('adds in place', () => {
    const { bytes, parts } = encodeFrames(codec, [CASES['dense rows and columns']!])[0]!
    for (const dtype of DTYPES) {
      const pairs = pairsFor({ operation: 'add', dtype, axis: 'tensor' }, CASES['dense rows and columns']!)
      const out = values(dtype, parts[0]!.cells, 12)
      const target: TritTarget = { operation: 'add', dtype, axis: 'tensor', pairs, from: out, out }
      const copy = out.slice()
      applyTrits(parts[0]!.positions, parts[0]!, { ...target, from: copy, out: copy })
      expect(codec.decodeInto!(bytes, parts[0]!, target)).toBe(true)
      expect(patterns(target)).toEqual(patterns({ ...target, out: copy }))
    }
  })

  test('refuses what decodeFrame refuses, and leaves the target as it was', () => {
    const tensor = largestOfNormal(30, 40, 0.2, 21, 0.8)
    const { bytes, parts } = encodeFrames(codec, [tensor])[0]!
    const part = parts[0]!
    const pairs = pairsFor({ operation: 'add', dtype: 'BF16', axis: 'tensor' }, tensor)
    let refused = 0
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = bytes.slice()
      damaged[bit >> 3]! ^= 1 << (bit & 7)
      const target = targetOf('add', 'BF16', 'tensor', pairs, part)
      const before = patterns(target)
      const outcome = attempt(() => codec.decodeInto!(damaged, part, target))
      const positions = attempt(() => codec.decodeFrame(damaged, [part])[0]!)
      if (typeof positions === 'string') {
        refused++
        if (outcome !== false) expect(outcome).toBe(positions)
        expect(patterns(target)).toEqual(before)
      } else if (outcome === true) {
        const want = { ...target, out: new Uint16Array(part.cells) } as TritTarget
        applyTrits(positions, part, want)
        expect(patterns(target)).toEqual(patterns(want))
      }
    }
    expect(refused).toBeGreaterThan(0)
  })
})

/** The result, or the message of a CompressError. */
function attempt<T>(work: () => T): T | string {
  try {
    return work()
  } catch (error) {
    if (error instanceof CompressError) return error.message
    throw error
  }
}
