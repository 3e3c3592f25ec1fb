import { describe, expect, test } from 'vitest'
import { type Components, innerProduct, overlaps } from '../../../compress/product.ts'
import type { ColumnMatrix } from '../../../compress/transforms/column-matrix.ts'
import { randomFloats } from '../../fixtures/random.ts'

function random(inFeatures: number, outFeatures: number, rank: number, seed: number): Components {
  const matrix = (rows: number, s: number): ColumnMatrix => ({
    rows,
    cols: rank,
    values: Float64Array.from(randomFloats(rows * rank, s)),
  })
  return { a: matrix(inFeatures, seed), b: matrix(outFeatures, seed + 1) }
}

/** The product itself, component i weighed by `weights[i]`. */
function dense({ a, b }: Components, weights: readonly number[]): number[] {
  const out = new Array<number>(a.rows * b.rows).fill(0)
  for (let k = 0; k < a.cols; k++) {
    for (let i = 0; i < b.rows; i++) {
      for (let j = 0; j < a.rows; j++)
        out[i * a.rows + j]! += weights[k]! * b.values[k * b.rows + i]! * a.values[k * a.rows + j]!
    }
  }
  return out
}

describe('inner products of B A without B A', () => {
  const x = random(7, 5, 3, 1)
  const y = random(7, 5, 2, 9)

  test('equal those of the full matrices', () => {
    const wanted = dense(x, [1, 1, 1]).reduce((sum, value, i) => sum + value * dense(y, [1, 1])[i]!, 0)
    expect(innerProduct(overlaps(x, y))).toBeCloseTo(wanted, 12)
  })

  test('equal them with weights on the components', () => {
    const [u, v] = [
      [2, -1, 0.5],
      [3, 0],
    ] as const
    const wanted = dense(x, u).reduce((sum, value, i) => sum + value * dense(y, v)[i]!, 0)
    expect(innerProduct(overlaps(x, y), Float64Array.from(u), Float64Array.from(v))).toBeCloseTo(wanted, 12)
  })

  test('with itself give the squared norm', () => {
    const wanted = dense(x, [1, 1, 1]).reduce((sum, value) => sum + value * value, 0)
    expect(innerProduct(overlaps(x, x))).toBeCloseTo(wanted, 12)
  })
})
