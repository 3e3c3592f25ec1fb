/**
 * How much each component of a quantised LoRA module has to weigh for the product to come out best: least squares over
 * the rank x rank overlaps (ALGORITHM.md, "Fitted scales").
 */
import { innerProduct } from './product.ts'
import type { ColumnMatrix } from './transforms/column-matrix.ts'

/** Share of the mean diagonal added to it: two components that became equal must not divide by zero. */
const RIDGE = 1e-9

/**
 * Weights d >= 0 that minimise |B A - sum of d_i Q_i|, where Q_i is component i of the quantised product. `own`: the
 * overlaps of the Q_i; `crossed`: of the components of B A (rows) with the Q_i (columns). A component without entries,
 * and one that least squares would turn around, gets 0. f64, sums in ascending index.
 */
export function fitComponents(own: ColumnMatrix, crossed: ColumnMatrix): Float64Array {
  const rank = own.cols
  const present = Array.from({ length: rank }, (_, i) => i).filter((i) => at(own, i, i) > 0)
  const weights = new Float64Array(rank)
  const mean = present.reduce((sum, i) => sum + at(own, i, i), 0) / Math.max(1, present.length)
  const matrix = present.map((i) => present.map((j) => at(own, i, j) + (i === j ? RIDGE * mean : 0)))
  const target = present.map((i) => {
    let sum = 0
    for (let k = 0; k < crossed.rows; k++) sum += at(crossed, k, i)
    return sum
  })
  solve(matrix, target).forEach((weight, i) => {
    weights[present[i] as number] = Math.max(0, weight)
  })
  return weights
}

/** The factor on the weights that gives their product the norm sqrt(squares); 0 when nothing is left of it. */
export function normFactor(own: ColumnMatrix, weights: Float64Array, squares: number): number {
  const quantized = innerProduct(own, weights, weights)
  return quantized > 0 ? Math.sqrt(squares / quantized) : 0
}

function at(m: ColumnMatrix, row: number, col: number): number {
  return m.values[col * m.rows + row] as number
}

/** x of M x = y for a symmetric positive definite M, by Cholesky; both are overwritten. */
function solve(m: number[][], y: number[]): number[] {
  const cell = (i: number, j: number) => (m[i] as number[])[j] as number
  for (let i = 0; i < m.length; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = cell(i, j)
      for (let k = 0; k < j; k++) sum -= cell(i, k) * cell(j, k)
      ;(m[i] as number[])[j] = i === j ? Math.sqrt(Math.max(sum, Number.MIN_VALUE)) : sum / cell(j, j)
    }
  }
  for (let i = 0; i < m.length; i++) {
    for (let k = 0; k < i; k++) y[i] = (y[i] as number) - cell(i, k) * (y[k] as number)
    y[i] = (y[i] as number) / cell(i, i)
  }
  for (let i = m.length - 1; i >= 0; i--) {
    for (let k = i + 1; k < m.length; k++) y[i] = (y[i] as number) - cell(k, i) * (y[k] as number)
    y[i] = (y[i] as number) / cell(i, i)
  }
  return y
}
