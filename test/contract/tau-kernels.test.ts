/** The kernels on pieces of a task vector: WebAssembly gives the bits of the definition. */
import { describe, expect, test } from 'vitest'
import { Candidates, jsTauKernels, type TauPiece, tauOf } from '../../compress/kernels/tau-kernels.ts'
import { wasmTauKernels } from '../../compress/kernels/tau-wasm.ts'
import { wasmHeap } from '../../compress/kernels/wasm-heap.ts'
import { fromF32 } from '../../tensors/dtype.ts'
import { randomFloats } from '../fixtures/random.ts'

const DTYPES = ['F32', 'F16', 'BF16', 'F64'] as const
const ENTRIES = 3 * 2 ** 15 + 7

const pieces: [string, TauPiece][] = DTYPES.flatMap((dtype, d) => {
  const values = fromF32(randomFloats(ENTRIES, d), dtype)
  const base = { values: fromF32(randomFloats(ENTRIES, 100 + d), 'BF16'), dtype: 'BF16' } as const
  return [0 as const, 1 as const, base].map((origin): [string, TauPiece] => [
    `${dtype} less ${typeof origin === 'number' ? origin : 'a base'}`,
    { first: 8, values, dtype, origin },
  ])
})

/** With a NaN after an infinity. */
const damaged: TauPiece = (() => {
  const values = randomFloats(1000, 5)
  values[501] = Number.NEGATIVE_INFINITY
  values[777] = Number.NaN
  return { first: 12, values: fromF32(values, 'F16'), dtype: 'F16', origin: 0 }
})()

const wasm = wasmTauKernels(wasmHeap()!)

describe('kernels on pieces of tau', () => {
  test.each(pieces)('sum and count alike: %s', (_, piece) => {
    const sums = [wasm, jsTauKernels].map((kernels) => {
      const lanes = new Float64Array(12).fill(0.1)
      const high = new Uint32Array(32768).fill(3)
      expect(kernels.measure(piece, lanes, high)).toBeUndefined()
      expect(kernels.moments(piece, lanes)).toBeUndefined()
      return { lanes, high }
    })
    expect(sums[0]).toEqual(sums[1])
    const bin = sums[0]!.high.indexOf(Math.max(...sums[0]!.high))
    const counts = [wasm, jsTauKernels].map((kernels) => {
      const low = new Uint32Array(65536)
      kernels.histogramLow(piece, bin, low)
      return low
    })
    expect(counts[0]).toEqual(counts[1])
    expect(counts[0]!.reduce((sum, count) => sum + count, 0)).toBe(sums[0]!.high[bin]! - 3)
  })

  test.each(pieces)('collect the same entries: %s', (_, piece) => {
    for (const lowest of [1, 0x3f80_0000, 0x7f80_0000]) {
      const found = [wasm, jsTauKernels].map((kernels) => {
        const candidates = new Candidates(0)
        const lanes = new Float64Array(12)
        kernels.collect(piece, lowest, candidates, lanes)
        return { entries: candidates.entries.slice(), magnitudes: candidates.magnitudes.slice(), lanes }
      })
      expect(found[0]).toEqual(found[1])
    }
  })

  test('collect every entry that is not zero from a bound of 1', () => {
    const piece = pieces[0]![1]
    const candidates = new Candidates(10)
    wasm.collect(piece, 1, candidates)
    expect(candidates.length).toBe(tauOf(piece).filter((value) => value !== 0).length)
  })

  test.each([
    ['WebAssembly', wasm],
    ['the definition', jsTauKernels],
  ])('name the first value that is not finite (%s)', (_, kernels) => {
    const found = { index: 12 + 501, value: Number.NEGATIVE_INFINITY }
    expect(kernels.moments(damaged, new Float64Array(12))).toEqual(found)
    expect(kernels.measure(damaged, new Float64Array(12), new Uint32Array(32768))).toEqual(found)
    expect(kernels.collect(damaged, 1, new Candidates(0), new Float64Array(12))).toEqual(found)
  })
})
