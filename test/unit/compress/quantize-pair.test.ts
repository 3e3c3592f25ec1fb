import { describe, expect, test } from 'vitest'
import { lossOf } from '../../../compress/factor-loss.ts'
import type { QuantizeRules } from '../../../compress/quantize.ts'
import { type QuantizedPair, quantizePair } from '../../../compress/quantize-pair.ts'
import { INDEX_MASK, type QuantizedTensor, SIGN_BIT } from '../../../compress/quantized-tensor.ts'
import type { LoraFactors } from '../../../compress/transforms/lora-factors.ts'
import { transformFactors } from '../../../compress/transforms/transform.ts'
import { randomFloats } from '../../fixtures/random.ts'

const NAMES = { module: 'm', a: 'm.lora_A.weight', b: 'm.lora_B.weight' }
const COMPONENT: QuantizeRules = {
  mask: { scope: 'tensor', density: 0.3 },
  scale: { kind: 'component' },
  layers: 1,
  gain: 1,
}

const MODULE: LoraFactors = {
  rank: 4,
  inFeatures: 24,
  outFeatures: 18,
  a: randomFloats(96, 1).map((value) => value * 0.03),
  b: randomFloats(72, 2).map((value) => value * 0.005),
}

function dense({ rows, cols, positions, scales }: QuantizedTensor): Float32Array {
  const out = new Float32Array(rows * cols)
  for (const p of positions) {
    const index = p & INDEX_MASK
    const at = scales.axis === 'row' ? Math.floor(index / cols) : scales.axis === 'column' ? index % cols : 0
    out[index] = (p >= SIGN_BIT ? -1 : 1) * scales.values[at]!
  }
  return out
}

function productOf({ rank, inFeatures, outFeatures, a, b }: LoraFactors): Float64Array {
  const out = new Float64Array(outFeatures * inFeatures)
  for (let i = 0; i < outFeatures; i++) {
    for (let k = 0; k < rank; k++) {
      for (let j = 0; j < inFeatures; j++) out[i * inFeatures + j]! += b[i * rank + k]! * a[k * inFeatures + j]!
    }
  }
  return out
}

function productOfPair({ a, b }: QuantizedPair): Float64Array {
  return productOf({ ...MODULE, a: dense(a.quantized), b: dense(b.quantized) })
}

function inner(x: Float64Array, y: Float64Array): number {
  return x.reduce((sum, value, i) => sum + value * y[i]!, 0)
}

function quantize(rules: QuantizeRules, transform: 'none' | 'balance' | 'svd' = 'svd', module = MODULE): QuantizedPair {
  return quantizePair(NAMES, module, transformFactors(module, transform), rules)
}

describe('a LoRA module with component scales', () => {
  test.each(['none', 'balance', 'svd'] as const)('keeps the norm of its product after transform %s', (transform) => {
    const before = productOf(MODULE)
    const after = productOfPair(quantize(COMPONENT, transform))
    expect(Math.sqrt(inner(after, after) / inner(before, before))).toBeCloseTo(1, 3)
  })

  test('has one scale per row of A and per column of B', () => {
    const { a, b } = quantize(COMPONENT)
    expect([a.quantized.scales.axis, a.quantized.scales.values.length]).toEqual(['row', 4])
    expect([b.quantized.scales.axis, b.quantized.scales.values.length]).toEqual(['column', 4])
  })

  test('gives a component the weight of its mean magnitudes', () => {
    const { a, b } = quantize(COMPONENT, 'none')
    const weights = [0, 1, 2, 3].map((i) => a.quantized.scales.values[i]! * b.quantized.scales.values[i]!)
    const means = [0, 1, 2, 3].map((i) => {
      const kept = (q: QuantizedTensor, tau: Float32Array, of: (index: number) => number) => {
        const values = Array.from(q.positions, (p) => p & INDEX_MASK).filter((index) => of(index) === i)
        return values.reduce((sum, index) => sum + Math.abs(tau[index]!), 0) / values.length
      }
      return (
        kept(a.quantized, MODULE.a, (index) => Math.floor(index / 24)) *
        kept(b.quantized, MODULE.b, (index) => index % 4)
      )
    })
    for (let i = 1; i < 4; i++) expect(weights[i]! / weights[0]!).toBeCloseTo(means[i]! / means[0]!, 2)
  })

  test('grows in its product by the square of the gain', () => {
    const one = productOfPair(quantize(COMPONENT))
    const two = productOfPair(quantize({ ...COMPONENT, gain: 1.5 }))
    expect(Math.sqrt(inner(two, two) / inner(one, one))).toBeCloseTo(2.25, 3)
  })

  test('has only zero scales when one factor keeps nothing', () => {
    const mask = { scope: 'global', thresholdBits: 0x3d00_0000, ties: [0, 0] } as const
    const { a, b, product } = quantize({ ...COMPONENT, mask }, 'none')
    expect(product.lost).toBe('lora_B')
    expect(a.stats.kept).toBeGreaterThan(0)
    expect([...a.quantized.scales.values, ...b.quantized.scales.values]).toEqual(new Array(8).fill(0))
  })
})

describe('the sums over a product', () => {
  test.each([
    ['component scales', COMPONENT],
    ['one scale per tensor', { ...COMPONENT, scale: { kind: 'std', alpha: 2 } }],
  ] as const)('with %s are those of the dense matrices', (_, rules) => {
    const pair = quantize(rules)
    const [before, after] = [productOf(MODULE), productOfPair(pair)]
    expect(pair.product.squares).toBeCloseTo(inner(before, before), 12)
    expect(pair.product.quantizedSquares / inner(after, after)).toBeCloseTo(1, 6)
    expect(pair.product.dot / inner(before, after)).toBeCloseTo(1, 6)
  })
})

describe('a lost factor', () => {
  test('is named after a threshold that B does not reach', () => {
    const mask = { scope: 'global', thresholdBits: 0x3d00_0000, ties: [0, 0] } as const
    const { product } = quantize({ mask, scale: { kind: 'std', alpha: 1 }, layers: 1, gain: 1 }, 'none')
    expect(lossOf(product)).toBe('lora_B')
  })

  test('is not claimed of an untrained module, whose product is zero anyway', () => {
    const { product } = quantize(COMPONENT, 'svd', { ...MODULE, b: new Float32Array(72) })
    expect(lossOf(product)).toBeNull()
  })

  test('is not claimed of a module quantised as it should be', () => {
    expect(lossOf(quantize(COMPONENT).product)).toBeNull()
  })
})
