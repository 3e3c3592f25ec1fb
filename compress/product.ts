/**
 * Norms and inner products of B A, from rank x rank matrices: the product of the factors itself, which can be a
 * thousand times larger than they are, is never formed. f64, sums over ascending indices (ALGORITHM.md, "Product").
 */
import { type ColumnMatrix, column, columnMatrix, dot } from './transforms/column-matrix.ts'

/** Factors by component: column i of `a` is row i of A, column i of `b` is column i of B. */
export interface Components {
  readonly a: ColumnMatrix
  readonly b: ColumnMatrix
}

/** The matrix of <X_i, Y_j> over components i of X, j of Y, for the A side times the same for the B side. */
export function overlaps(x: Components, y: Components): ColumnMatrix {
  const out = columnMatrix(x.a.cols, y.a.cols)
  const symmetric = x === y
  for (let j = 0; j < out.cols; j++) {
    for (let i = symmetric ? j : 0; i < out.rows; i++) {
      const value = dot(column(x.a, i), column(y.a, j)) * dot(column(x.b, i), column(y.b, j))
      out.values[j * out.rows + i] = value
      if (symmetric) out.values[i * out.rows + j] = value
    }
  }
  return out
}

/** <B A, B2 A2> where component i of the first weighs `u[i]` and component j of the second `v[j]` (1 if absent). */
export function innerProduct(overlap: ColumnMatrix, u?: Float64Array, v?: Float64Array): number {
  let sum = 0
  for (let i = 0; i < overlap.rows; i++) {
    for (let j = 0; j < overlap.cols; j++) {
      const weight = (u?.[i] ?? 1) * (v?.[j] ?? 1)
      sum += weight * (overlap.values[j * overlap.rows + i] as number)
    }
  }
  return sum
}
