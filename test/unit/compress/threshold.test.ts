import { describe, expect, test } from 'vitest'
import { kernels } from '../../../compress/kernels/default.ts'
import { combineMoments, momentsOf, standardDeviation } from '../../../compress/statistics.ts'
import {
  addCompact,
  chooseBin,
  chooseThreshold,
  compactCounts,
  keepCount,
  LOW_BINS,
  magnitudeOf,
  shareTies,
  tensorThreshold,
} from '../../../compress/threshold.ts'
import { refusalOf } from '../../fixtures/refusal.ts'

/** -1, 0, 1 of the `keep` largest. */
function trits(values: readonly number[], keep: number): number[] {
  const tau = Float32Array.from(values)
  const { thresholdBits, ties } = tensorThreshold(tau, keep)
  const out = new Array<number>(values.length).fill(0)
  for (const position of kernels().select(tau, thresholdBits, ties))
    out[position & 0x7fff_ffff] = position >>> 31 ? -1 : 1
  return out
}

/** The worked example: sigma and survivors computed by hand and with numpy. */
const EXAMPLE = [0.5, -2, 0.1, 3, -0.2, 1, -1, 0.05, 0, 0.7]

describe('the count of kept entries', () => {
  test.each([
    [10, 0.3, 3],
    [10, 0.31, 4],
    [30, 0.1, 3],
    [675840, 0.05, 33792],
    [1, 0.5, 1],
    [7, 1, 7],
    [0, 0.5, 0],
    [10, 1e-12, 0],
  ])('of %s entries at density %s is %s', (entries, density, kept) => {
    expect(keepCount(entries, density)).toBe(kept)
  })
})

describe('the threshold of a tensor', () => {
  test('keeps exactly as many as asked, where the largest magnitudes are', () => {
    expect(trits(EXAMPLE, 2)).toEqual([0, -1, 0, 1, 0, 0, 0, 0, 0, 0])
  })

  test('gives a tie to the lowest index', () => {
    expect(trits(EXAMPLE, 3)).toEqual([0, -1, 0, 1, 0, 1, 0, 0, 0, 0])
    expect(trits(EXAMPLE, 4)).toEqual([0, -1, 0, 1, 0, 1, -1, 0, 0, 0])
  })

  test('never keeps a zero of either sign', () => {
    expect(trits([0, -0, 2, 0], 3)).toEqual([0, 0, 1, 0])
    expect(trits([0, 0, 0], 2)).toEqual([0, 0, 0])
  })

  test('tells subnormals apart', () => {
    expect(trits([1e-40, -2e-40, 3e-40, 0], 2)).toEqual([0, -1, 1, 0])
  })

  test('tells neighbours apart that differ in the last bit', () => {
    const next = Math.fround(1 + 2 ** -23)
    expect(trits([1, next, 1, -next], 2)).toEqual([0, 1, 0, -1])
  })

  test('keeps nothing when nothing is asked, and all non-zeros when all is', () => {
    expect(trits([3, 1, 2], 0)).toEqual([0, 0, 0])
    expect(trits([3, 0, -2], 3)).toEqual([1, 0, -1])
  })

  test('holds for the largest finite value', () => {
    const largest = magnitudeOf(0x7f7f_ffff)
    expect(trits([largest, 1, -largest], 1)).toEqual([1, 0, 0])
  })
})

describe('the walk over a histogram', () => {
  test('finds the bin of the wanted rank and what is left to find in it', () => {
    expect(chooseBin([5, 0, 3, 2], 4)).toEqual({ bin: 2, remaining: 2 })
    expect(chooseBin([5, 0, 3, 2], 5)).toEqual({ bin: 2, remaining: 3 })
    expect(chooseBin([5, 0, 3, 2], 6)).toEqual({ bin: 0, remaining: 1 })
  })

  test('asks for no ties when the threshold is zero', () => {
    const low = new Uint32Array(LOW_BINS)
    low[0] = 9
    expect(chooseThreshold({ bin: 0, remaining: 4 }, low)).toEqual({ thresholdBits: 0, ties: 0 })
  })
})

describe('ties over several tensors', () => {
  const counts = (entries: Record<number, number>) => {
    const low = new Uint32Array(LOW_BINS)
    for (const [bin, count] of Object.entries(entries)) low[Number(bin)] = count
    return compactCounts(low)
  }

  test('go to the first tensors in the order given', () => {
    const parts = [counts({ 7: 2 }), counts({ 8: 5 }), counts({ 7: 3 }), counts({ 7: 4 })]
    expect(shareTies({ thresholdBits: 3 * LOW_BINS + 7, ties: 4 }, parts)).toEqual([2, 0, 2, 0])
  })

  test('survive the compact form of a histogram', () => {
    const total = new Float64Array(LOW_BINS)
    addCompact(total, counts({ 0: 1, 65535: 2 }))
    addCompact(total, counts({ 65535: 3 }))
    expect([total[0], total[65535], total.reduce((a, b) => a + b)]).toEqual([1, 5, 6])
  })
})

describe('the standard deviation', () => {
  test('is the unbiased one', () => {
    expect(standardDeviation(momentsOf(Float32Array.from(EXAMPLE), 't'))).toBeCloseTo(1.30512878, 7)
  })

  test('is that of all parts together when they are combined', () => {
    const parts = [EXAMPLE.slice(0, 3), EXAMPLE.slice(3)].map((values) => momentsOf(Float32Array.from(values), 't'))
    expect(standardDeviation(combineMoments(parts))).toBeCloseTo(1.30512878, 7)
  })

  test('is zero for fewer than two entries and for equal ones', () => {
    expect(standardDeviation(momentsOf(Float32Array.of(3), 't'))).toBe(0)
    expect(standardDeviation(combineMoments([]))).toBe(0)
    expect(standardDeviation(momentsOf(new Float32Array(1000).fill(0.1), 't'))).toBeLessThan(1e-8)
  })
})

describe('moments', () => {
  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'refuse %s, with tensor and index',
    async (bad) => {
      expect(await refusalOf(() => momentsOf(Float32Array.of(1, 2, bad, bad), 'w'))).toMatchObject({
        code: 'NOT_FINITE',
        detail: { tensor: 'w', index: 2 },
      })
    },
  )
})
