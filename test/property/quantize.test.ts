import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { kernels } from '../../compress/kernels/default.ts'
import { INDEX_MASK } from '../../compress/quantized-tensor.ts'
import { scaleFactors } from '../../compress/scale-factors.ts'
import {
  addCompact,
  chooseBin,
  chooseThreshold,
  compactCounts,
  HIGH_BINS,
  keepCount,
  LOW_BINS,
  shareTies,
  tensorThreshold,
} from '../../compress/threshold.ts'
import type { LoraFactors } from '../../compress/transforms/lora-factors.ts'
import { transformFactors } from '../../compress/transforms/transform.ts'

/** Few distinct values, so that ties are common; zeros of both signs, subnormals, neighbours in the last bit. */
const value = fc.oneof(
  fc.constantFrom(0, -0, 1, -1, 0.5, -0.5, Math.fround(1 + 2 ** -23), 1e-40, -1e-40, 2e-45),
  fc.float({ noNaN: true, noDefaultInfinity: true }),
)
const tensor = fc.array(value, { maxLength: 60 }).map((values) => Float32Array.from(values))
const density = fc.double({ min: 1e-6, max: 1, noNaN: true })

/** Indices kept, by sorting. */
function keptBySorting(values: readonly number[], keep: number): number[] {
  return values
    .map((_, index) => index)
    .sort((i, j) => Math.abs(values[j]!) - Math.abs(values[i]!) || i - j)
    .slice(0, keep)
    .filter((index) => values[index] !== 0)
    .sort((i, j) => i - j)
}

function keptByThreshold(tau: Float32Array, thresholdBits: number, ties: number): number[] {
  return Array.from(kernels().select(tau, thresholdBits, ties), (position) => position & INDEX_MASK)
}

describe('the threshold', () => {
  test('of one tensor keeps what sorting keeps', () => {
    fc.assert(
      fc.property(tensor, density, (tau, k) => {
        const keep = keepCount(tau.length, k)
        const { thresholdBits, ties } = tensorThreshold(tau, keep)
        expect(keptByThreshold(tau, thresholdBits, ties)).toEqual(keptBySorting([...tau], keep))
      }),
    )
  })

  test('of several tensors keeps what sorting their concatenation keeps', () => {
    fc.assert(
      fc.property(fc.array(tensor, { minLength: 1, maxLength: 5 }), density, (taus, k) => {
        const all = taus.flatMap((tau) => [...tau])
        const keep = keepCount(all.length, k)
        const high = new Uint32Array(HIGH_BINS)
        for (const tau of taus) kernels().histogramHigh(tau, high)
        const bin = chooseBin(high, keep)
        const lows = taus.map((tau) => {
          const low = new Uint32Array(LOW_BINS)
          kernels().histogramLow(tau, bin.bin, low)
          return compactCounts(low)
        })
        const total = new Float64Array(LOW_BINS)
        for (const low of lows) addCompact(total, low)
        const threshold = chooseThreshold(bin, total)
        const shares = shareTies(threshold, lows)
        let start = 0
        const kept = taus.flatMap((tau, i) => {
          const offset = start
          start += tau.length
          return keptByThreshold(tau, threshold.thresholdBits, shares[i]!).map((index) => offset + index)
        })
        expect(kept).toEqual(keptBySorting(all, keep))
      }),
      { numRuns: 50 },
    )
  })
})

const entry = fc.oneof(fc.constant(0), fc.double({ min: -4, max: 4, noNaN: true }))

const factors: fc.Arbitrary<LoraFactors> = fc
  .record({
    rank: fc.integer({ min: 1, max: 5 }),
    input: fc.integer({ min: 1, max: 8 }),
    output: fc.integer({ min: 1, max: 8 }),
  })
  .chain(({ rank, input, output }) => {
    const matrix = (size: number) =>
      fc.array(entry, { minLength: size, maxLength: size }).map((values) => Float32Array.from(values))
    return fc.record({
      rank: fc.constant(rank),
      inFeatures: fc.constant(input),
      outFeatures: fc.constant(output),
      a: matrix(rank * input),
      b: matrix(output * rank),
    })
  })

function productOf({ rank, inFeatures, outFeatures, a, b }: LoraFactors): number[] {
  const out = new Array<number>(outFeatures * inFeatures).fill(0)
  for (let i = 0; i < outFeatures; i++) {
    for (let k = 0; k < rank; k++) {
      for (let j = 0; j < inFeatures; j++) out[i * inFeatures + j]! += b[i * rank + k]! * a[k * inFeatures + j]!
    }
  }
  return out
}

describe('a transform', () => {
  test.each(['balance', 'svd'] as const)('%s keeps the product of any factors', (transform) => {
    fc.assert(
      fc.property(factors, (before) => {
        const after = transformFactors(before, transform)
        const [wanted, found] = [productOf(before), productOf(after)]
        const largest = Math.max(...wanted.map(Math.abs))
        // f32 rounding of the factors, whose components may cancel in the product.
        const lengths = Math.hypot(...before.a) * Math.hypot(...before.b)
        // An entry of a factor that ends below the normal range of f32 is off by up to half its smallest number.
        const tiny = 2 ** -149
        const underflow = before.rank * tiny * (Math.hypot(...after.a) + Math.hypot(...after.b) + tiny)
        wanted.forEach((x, i) => {
          expect(Math.abs(found[i]! - x)).toBeLessThanOrEqual(1e-6 * (largest + lengths) + underflow)
        })
      }),
    )
  })
})

describe('the scales of a component', () => {
  test('never miss their product by more than one bf16 rounding', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-60, max: 1e60, noNaN: true }), (product) => {
        const [a, b] = scaleFactors(product)
        expect(Math.abs(a * b - product)).toBeLessThanOrEqual(product * 2 ** -8)
      }),
    )
  })
})
