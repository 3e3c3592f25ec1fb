import { describe, expect, test } from 'vitest'
import {
  type QuantizedPart,
  type QuantizeRules,
  type ScaleRule,
  selectPart,
  withTensorScale,
} from '../../../compress/quantize.ts'
import { INDEX_MASK, SIGN_BIT } from '../../../compress/quantized-tensor.ts'
import { refusalOf } from '../../fixtures/refusal.ts'

/** Five entries, norm sqrt(1 + 4 + 9 + 0.25) = sqrt(14.25). */
const TAU = Float32Array.of(-1, 2, 0, 3, -0.5)
const SIGMA = Math.sqrt((14.25 - 3.5 ** 2 / 5) / 4)

interface Setting {
  readonly gain?: number
  readonly density?: number
  readonly tau?: Float32Array
  readonly shape?: readonly number[]
}

function quantize(scale: ScaleRule, setting: Setting = {}): QuantizedPart {
  const { gain = 1, density = 0.4, tau = TAU, shape = [tau.length] } = setting
  const rules: QuantizeRules = { mask: { scope: 'tensor', density }, scale, layers: 1, gain }
  return withTensorScale(selectPart('t', tau, rules.mask, 0), shape, rules)
}

function scaleOf(part: QuantizedPart): number {
  return part.quantized.scales.values[0]!
}

describe('a quantised tensor', () => {
  test('holds the positions of its largest entries, with their signs', () => {
    const { positions } = quantize({ kind: 'mean' }, { density: 0.6 }).quantized
    expect([...positions]).toEqual([(0 | SIGN_BIT) >>> 0, 1, 3])
  })

  test.each([
    [[], 1, 1],
    [[4], 1, 4],
    [[2, 3], 2, 3],
    [[2, 3, 4], 6, 4],
  ])('of shape %j is a matrix of %s x %s', (shape, rows, cols) => {
    const tau = new Float32Array(shape.reduce((a, b) => a * b, 1))
    expect(quantize({ kind: 'mean' }, { tau, shape }).quantized).toMatchObject({ rows, cols })
  })

  test('keeps only what is above a global threshold, and its own share of the ties', () => {
    const tau = Float32Array.of(2, -2, 3, 2, 1)
    const mask = { scope: 'global', thresholdBits: 0x4000_0000, ties: [9, 2] } as const
    const { positions } = selectPart('t', tau, mask, 1)
    expect(Array.from(positions, (p) => p & INDEX_MASK)).toEqual([0, 1, 2])
  })
})

describe('the scale of a tensor', () => {
  test('std is alpha times sigma of all entries, kept or not', () => {
    expect(scaleOf(quantize({ kind: 'std', alpha: 1.5 }))).toBe(Math.fround(1.5 * SIGMA))
  })

  test('norm keeps the norm of the tensor', () => {
    const part = quantize({ kind: 'norm', factor: 1 })
    expect(scaleOf(part)).toBe(Math.fround(Math.sqrt(14.25 / 2)))
    expect(part.stats.quantizedSquares).toBeCloseTo(14.25, 5)
  })

  test('mean is the mean magnitude of what is kept', () => {
    expect(scaleOf(quantize({ kind: 'mean' }))).toBe(2.5)
  })

  test('between is the geometric mean of norm and mean', () => {
    expect(scaleOf(quantize({ kind: 'between', factor: 1 }))).toBe(Math.fround(Math.sqrt(Math.sqrt(14.25 / 2) * 2.5)))
  })

  test('given is taken as it is', () => {
    expect(scaleOf(quantize({ kind: 'given', value: 0.1 }))).toBe(Math.fround(0.1))
  })

  test('is multiplied by the gain before it is rounded', () => {
    expect(scaleOf(quantize({ kind: 'given', value: 0.1 }, { gain: 3 }))).toBe(Math.fround(0.1 * 3))
  })

  test.each(['norm', 'mean', 'std'] as const)('%s is zero for a tensor of zeros', (kind) => {
    const rule: ScaleRule = kind === 'norm' ? { kind, factor: 1 } : kind === 'std' ? { kind, alpha: 1 } : { kind }
    expect(scaleOf(quantize(rule, { tau: new Float32Array(4) }))).toBe(0)
  })

  test('is refused when it leaves f32', async () => {
    const tau = Float32Array.of(3e38, -3e38, 3e38)
    const refusal = await refusalOf(() => quantize({ kind: 'norm', factor: 1 }, { tau, gain: 1000 }))
    expect(refusal).toMatchObject({ code: 'NOT_FINITE', detail: { tensor: 't' } })
  })
})

describe('the sums over a tensor', () => {
  test('are those of the dense quantised tensor', () => {
    const { quantized, stats } = quantize({ kind: 'mean' }, { density: 0.6 })
    const q = new Float32Array(TAU.length)
    for (const p of quantized.positions) q[p & INDEX_MASK] = (p >= SIGN_BIT ? -1 : 1) * quantized.scales.values[0]!
    expect(stats).toEqual({
      entries: 5,
      kept: 3,
      trits: [3],
      sumSquares: 14.25,
      quantizedSquares: q.reduce((sum, value) => sum + value * value, 0),
      dot: q.reduce((sum, value, i) => sum + value * TAU[i]!, 0),
    })
  })
})
