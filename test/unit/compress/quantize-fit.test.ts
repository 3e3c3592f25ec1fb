import { describe, expect, test } from 'vitest'
import type { QuantizeRules } from '../../../compress/quantize.ts'
import { type QuantizedPair, quantizePair } from '../../../compress/quantize-pair.ts'
import { INDEX_MASK, layerWorths, type QuantizedTensor, SIGN_BIT } from '../../../compress/quantized-tensor.ts'
import type { LoraFactors } from '../../../compress/transforms/lora-factors.ts'
import { transformFactors } from '../../../compress/transforms/transform.ts'
import { randomFloats } from '../../fixtures/random.ts'

const NAMES = { module: 'm', a: 'm.lora_A.weight', b: 'm.lora_B.weight' }

/** Components of very different weight, as training leaves them. */
const MODULE: LoraFactors = {
  rank: 4,
  inFeatures: 60,
  outFeatures: 40,
  a: randomFloats(240, 1).map((value, i) => value * 0.1 * 0.4 ** Math.floor(i / 60)),
  b: randomFloats(160, 2).map((value) => value * 0.05),
}

function rules(layers: number, keepNorm: boolean, density = 0.3): QuantizeRules {
  const towards = keepNorm ? 'norm' : 'mean'
  return { mask: { scope: 'tensor', density }, scale: { kind: 'fit', towards }, layers, gain: 1 }
}

function dense({ rows, cols, positions, finer = [], scales }: QuantizedTensor): Float32Array {
  const out = new Float32Array(rows * cols)
  const worths = layerWorths(1 + finer.length)
  for (const [layer, trits] of [positions, ...finer].entries()) {
    for (const p of trits) {
      const index = p & INDEX_MASK
      const at = scales.axis === 'row' ? Math.floor(index / cols) : index % cols
      out[index]! += (p >= SIGN_BIT ? -1 : 1) * worths[layer]! * scales.values[at]!
    }
  }
  return out
}

function productOf({ rank, inFeatures, outFeatures, a, b }: LoraFactors): Float64Array {
  const out = new Float64Array(outFeatures * inFeatures)
  for (let i = 0; i < outFeatures; i++)
    for (let k = 0; k < rank; k++)
      for (let j = 0; j < inFeatures; j++) out[i * inFeatures + j]! += b[i * rank + k]! * a[k * inFeatures + j]!
  return out
}

function inner(x: Float64Array, y: Float64Array): number {
  return x.reduce((sum, value, i) => sum + value * y[i]!, 0)
}

function errorOf({ a, b }: Pick<QuantizedPair, 'a' | 'b'>): number {
  const before = productOf(MODULE)
  const after = productOf({ ...MODULE, a: dense(a.quantized), b: dense(b.quantized) })
  const difference = before.map((value, i) => value - after[i]!)
  return Math.sqrt(inner(difference, difference) / inner(before, before))
}

function quantize(wanted: QuantizeRules, transform: 'svd' | 'effect' = 'effect', module = MODULE): QuantizedPair {
  return quantizePair(NAMES, module, transformFactors(module, transform), wanted)
}

describe('coordinates of the effect', () => {
  test('have the product that their weights say', () => {
    const { weights = new Float64Array(), ...factors } = transformFactors(MODULE, 'effect')
    const a = factors.a.map((value, i) => value * weights[Math.floor(i / 60)]!)
    const after = productOf({ ...factors, a })
    const before = productOf(MODULE)
    before.forEach((value, i) => {
      expect(after[i]).toBeCloseTo(value, 6)
    })
  })

  test('are zero for a module without effect', () => {
    const { a, b, weights } = transformFactors({ ...MODULE, b: new Float32Array(160) }, 'effect')
    expect([...a, ...b, ...(weights ?? [])].every((value) => value === 0)).toBe(true)
  })
})

describe('fitted scales', () => {
  test('are measured on what is stored', () => {
    const pair = quantize(rules(3, false))
    const { squares, quantizedSquares, dot } = pair.product
    const measured = Math.sqrt((squares - 2 * dot + quantizedSquares) / squares)
    expect(measured).toBeCloseTo(errorOf(pair), 4)
  })

  test('keep the norm of the product when asked to', () => {
    const { squares, quantizedSquares } = quantize(rules(3, true)).product
    expect(Math.sqrt(quantizedSquares / squares)).toBeCloseTo(1, 2)
  })

  test('half way lie in the middle, by ratio', () => {
    const weight = (towards: 'norm' | 'mean' | 'between') => {
      const pair = quantize({ ...rules(1, true, 0.1), scale: { kind: 'fit', towards } })
      return Math.sqrt(pair.product.quantizedSquares)
    }
    expect(weight('between') ** 2 / (weight('norm') * weight('mean'))).toBeCloseTo(1, 2)
    expect(weight('norm')).toBeGreaterThan(weight('mean') * 1.1)
  })

  test('without the norm cannot be beaten by another scale', () => {
    const pair = quantize(rules(2, false))
    const least = errorOf(pair)
    for (const i of pair.a.quantized.scales.values.keys())
      for (const factor of [0.9, 1.1]) {
        const values = pair.a.quantized.scales.values.with(i, pair.a.quantized.scales.values[i]! * factor)
        const changed = { ...pair.a.quantized, scales: { axis: 'row', values } as const }
        expect(errorOf({ ...pair, a: { ...pair.a, quantized: changed } })).toBeGreaterThanOrEqual(least - 1e-9)
      }
  })

  test('are the same for both sides, so that a container stores them once', () => {
    const { a, b } = quantize(rules(3, true))
    expect(a.quantized.scales.values).toEqual(b.quantized.scales.values)
  })

  test('serve more magnitudes with less error', () => {
    const [one, two, three] = [1, 2, 3].map((layers) => errorOf(quantize(rules(layers, false, 0.6))))
    expect(two).toBeLessThan(one! * 0.8)
    expect(three).toBeLessThan(two!)
  })

  test('of a component that one side lost are 0, and its trits are dropped', () => {
    const factors = transformFactors(MODULE, 'svd')
    const b = factors.b.map((value, i) => (i % 4 === 2 ? 0 : value))
    const pair = quantizePair(NAMES, MODULE, { ...factors, b }, rules(1, false))
    expect(pair.a.quantized.scales.values[2]).toBe(0)
    const rows = Array.from(pair.a.quantized.positions, (p) => Math.floor((p & INDEX_MASK) / 60))
    expect(rows).not.toContain(2)
  })

  test('are 0 for a module without effect', () => {
    const pair = quantize(rules(3, true), 'effect', { ...MODULE, b: new Float32Array(160) })
    expect(pair.a.stats.kept + pair.b.stats.kept).toBe(0)
    expect(pair.product).toMatchObject({ squares: 0, quantizedSquares: 0, lost: null })
  })
})
