import { describe, expect, test } from 'vitest'
import { balance } from '../../../../compress/transforms/balance.ts'
import { type ColumnMatrix, column, columnMatrix, dot } from '../../../../compress/transforms/column-matrix.ts'
import { applyQ, householderQr } from '../../../../compress/transforms/householder.ts'
import { jacobiSvd } from '../../../../compress/transforms/jacobi-svd.ts'
import { componentsOfA, componentsOfB, type LoraFactors } from '../../../../compress/transforms/lora-factors.ts'
import { svdGauge } from '../../../../compress/transforms/svd.ts'
import { randomFloats } from '../../../fixtures/random.ts'

function randomMatrix(rows: number, cols: number, seed: number): ColumnMatrix {
  return { rows, cols, values: Float64Array.from(randomFloats(rows * cols, seed)) }
}

function lora(outFeatures: number, rank: number, inFeatures: number, seed = 1): LoraFactors {
  const a = randomFloats(rank * inFeatures, seed)
  const b = randomFloats(outFeatures * rank, seed + 1).map((value) => value * 0.01)
  return { rank, inFeatures, outFeatures, a, b }
}

/** B A, row-major, f64. */
function productOf({ rank, inFeatures, outFeatures, a, b }: LoraFactors): Float64Array {
  const out = new Float64Array(outFeatures * inFeatures)
  for (let i = 0; i < outFeatures; i++) {
    for (let k = 0; k < rank; k++) {
      for (let j = 0; j < inFeatures; j++) out[i * inFeatures + j]! += b[i * rank + k]! * a[k * inFeatures + j]!
    }
  }
  return out
}

function distance(x: Float64Array, y: Float64Array): number {
  const norm = Math.sqrt(dot(x, x))
  return Math.sqrt(x.reduce((sum, value, i) => sum + (value - y[i]!) ** 2, 0)) / (norm || 1)
}

/** Largest |<x_i, x_j> - (i == j ? length_i^2 : 0)| relative to the lengths. */
function orthogonality(m: ColumnMatrix): number {
  let worst = 0
  for (let i = 0; i < m.cols; i++) {
    for (let j = 0; j < i; j++) {
      const [x, y] = [column(m, i), column(m, j)]
      const lengths = Math.sqrt(dot(x, x) * dot(y, y))
      if (lengths > 0) worst = Math.max(worst, Math.abs(dot(x, y)) / lengths)
    }
  }
  return worst
}

const SHAPES = [
  [40, 6],
  [6, 6],
  [4, 6],
  [1, 3],
  [50, 1],
] as const

describe('the QR factors', () => {
  test.each(SHAPES)('of a %s x %s matrix multiply to it again', (rows, cols) => {
    const m = randomMatrix(rows, cols, 7)
    const { q, r } = householderQr(m)
    expect(distance(m.values, applyQ(q, r).values)).toBeLessThan(1e-14)
  })

  test('have an orthonormal Q', () => {
    const { q } = householderQr(randomMatrix(40, 6, 8))
    const identity = columnMatrix(6, 6)
    for (let i = 0; i < 6; i++) identity.values[i * 7] = 1
    const columns = applyQ(q, identity)
    expect(orthogonality(columns)).toBeLessThan(1e-14)
    for (let i = 0; i < 6; i++) expect(dot(column(columns, i), column(columns, i))).toBeCloseTo(1, 13)
  })

  test('of zeros are zeros', () => {
    expect([...householderQr(columnMatrix(5, 2)).r.values]).toEqual([0, 0, 0, 0])
  })
})

describe('the small SVD', () => {
  test('has singular values that fall, and orthogonal columns of those lengths', () => {
    const { scaledLeft, singular, right } = jacobiSvd(randomMatrix(12, 8, 3))
    expect([...singular]).toEqual([...singular].sort((a, b) => b - a))
    expect(orthogonality(scaledLeft)).toBeLessThan(1e-13)
    expect(orthogonality(right)).toBeLessThan(1e-13)
    singular.forEach((s, j) => {
      expect(Math.sqrt(dot(column(scaledLeft, j), column(scaledLeft, j)))).toBe(s)
    })
  })

  test('knows the singular values of a matrix made from them', () => {
    const { scaledLeft } = jacobiSvd(randomMatrix(5, 5, 4))
    const wanted = [9, 3, 1, 1e-3, 1e-9]
    for (let j = 0; j < 5; j++) {
      const x = column(scaledLeft, j)
      const scale = wanted[j]! / Math.sqrt(dot(x, x))
      for (let i = 0; i < 5; i++) x[i]! *= scale
    }
    const { right } = jacobiSvd(randomMatrix(5, 5, 5))
    const m = columnMatrix(5, 5)
    for (let j = 0; j < 5; j++) {
      for (let k = 0; k < 5; k++) {
        for (let i = 0; i < 5; i++) m.values[j * 5 + i]! += column(scaledLeft, k)[i]! * column(right, k)[j]!
      }
    }
    const { singular } = jacobiSvd(m)
    // Absolute accuracy is what rounding m to f64 leaves.
    for (let j = 0; j < 5; j++) expect(Math.abs(singular[j]! - wanted[j]!)).toBeLessThan(1e-14)
  })

  test('ends on a matrix of rank one', () => {
    const m: ColumnMatrix = { rows: 3, cols: 3, values: Float64Array.of(1, 2, 3, 2, 4, 6, 3, 6, 9) }
    const { singular } = jacobiSvd(m)
    expect(singular[0]).toBeCloseTo(14, 12)
    expect(singular[1]).toBeLessThan(1e-14)
  })

  test('of zeros is zeros', () => {
    expect([...jacobiSvd(columnMatrix(3, 3)).singular]).toEqual([0, 0, 0])
  })
})

describe('the svd gauge', () => {
  test.each([
    [30, 4, 20],
    [3, 4, 20],
    [30, 4, 2],
    [2, 8, 2],
    [5, 1, 5],
  ])('keeps the product of a %s x %s x %s module', (out, rank, input) => {
    const before = lora(out, rank, input)
    const after = svdGauge(before)
    expect([after.a.length, after.b.length]).toEqual([before.a.length, before.b.length])
    expect(distance(productOf(before), productOf(after))).toBeLessThan(1e-6)
  })

  test('gives both sides of a component the same length, longest first', () => {
    const { a, b } = components(svdGauge(lora(30, 4, 20)))
    const lengths = [0, 1, 2, 3].map((i) => Math.sqrt(dot(column(a, i), column(a, i))))
    lengths.forEach((length, i) => {
      expect(Math.sqrt(dot(column(b, i), column(b, i)))).toBeCloseTo(length, 6)
    })
    expect(lengths).toEqual([...lengths].sort((x, y) => y - x))
  })

  test('makes the largest entry of each row of A positive', () => {
    const { a } = components(svdGauge(lora(30, 4, 20)))
    for (let i = 0; i < 4; i++) {
      const row = [...column(a, i)]
      expect(Math.max(...row)).toBe(Math.max(...row.map(Math.abs)))
    }
  })

  test('does not depend on the gauge it is given', () => {
    const before = lora(30, 4, 20)
    const scaled = { ...before, a: before.a.map((value) => value * 8), b: before.b.map((value) => value / 8) }
    expect(svdGauge(scaled)).toEqual(svdGauge(before))
  })

  test('has zeros for the components that the product does not have', () => {
    const { a, b } = components(svdGauge(lora(3, 4, 20)))
    expect([...column(a, 3), ...column(b, 3)].every((value) => value === 0)).toBe(true)
  })

  test('of an untrained module, whose B is zero, is zero', () => {
    const untrained = { ...lora(6, 2, 5), b: new Float32Array(12) }
    const { a, b } = svdGauge(untrained)
    expect([...a, ...b].every((value) => value === 0)).toBe(true)
  })
})

describe('the balanced gauge', () => {
  test('keeps the product and gives both sides of a component the same length', () => {
    const before = lora(30, 4, 20)
    const after = balance(before)
    expect(distance(productOf(before), productOf(after))).toBeLessThan(1e-6)
    const { a, b } = components(after)
    for (let i = 0; i < 4; i++) {
      expect(dot(column(a, i), column(a, i))).toBeCloseTo(dot(column(b, i), column(b, i)), 5)
    }
  })

  test('leaves a component without a product alone', () => {
    const untrained = { ...lora(6, 2, 5), b: new Float32Array(12) }
    expect(balance(untrained)).toEqual(untrained)
  })
})

function components(factors: LoraFactors) {
  return { a: componentsOfA(factors), b: componentsOfB(factors) }
}
