import { describe, expect, test } from 'vitest'
import { scaleFactors } from '../../../compress/scale-factors.ts'
import { random } from '../../fixtures/random.ts'

function isBf16(value: number): boolean {
  return (new Uint32Array(Float32Array.of(value).buffer)[0]! & 0xffff) === 0 && Math.fround(value) === value
}

describe('the two scales of a component', () => {
  test('are bf16 numbers whose product is within 2^-11 of what it should be, and mostly within 2^-14', () => {
    const uniform = random(5)
    const errors = Array.from({ length: 2000 }, () => {
      const product = 10 ** (20 * uniform() - 15)
      const [a, b] = scaleFactors(product)
      expect(isBf16(a) && isBf16(b)).toBe(true)
      return Math.abs((a * b) / product - 1)
    }).sort((x, y) => x - y)
    expect(errors.at(-1)).toBeLessThan(2 ** -11)
    expect(errors[1000]).toBeLessThan(2 ** -14)
  })

  test('differ from each other by at most a half', () => {
    const [a, b] = scaleFactors(0.0123)
    expect(Math.abs(Math.log2(a / b))).toBeLessThan(0.6)
  })

  test('are the root itself where it is exact', () => {
    expect(scaleFactors(2 ** -10)).toEqual([2 ** -5, 2 ** -5])
  })

  test('are zero for zero', () => {
    expect(scaleFactors(0)).toEqual([0, 0])
  })

  test('are not finite where the root is beyond bf16, so that the caller can refuse', () => {
    expect(Number.isFinite(scaleFactors(1e80)[0])).toBe(false)
  })

  test('stay above zero for products of subnormal numbers', () => {
    const [a, b] = scaleFactors(1e-78)
    expect(a > 0 && b > 0).toBe(true)
  })
})
