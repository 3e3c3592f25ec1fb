/**
 * QR of a matrix by Householder reflections, in f64 with `+ - * /` and sqrt alone, so that every IEEE machine gets the
 * same bits (ALGORITHM.md, "QR"). Q is kept as its reflections and applied, never formed.
 */
import { type ColumnMatrix, column, columnMatrix, dot } from './column-matrix.ts'

export interface Reflections {
  readonly rows: number
  /** Vectors v_k, entries 0..k-1 zero; H_k = I - (2 / v.v) v v'. A zero vector stands for the identity. */
  readonly vectors: readonly Float64Array[]
  /** 2 / v.v of each, 0 for the identity. */
  readonly factors: readonly number[]
}

export interface QrFactors {
  readonly q: Reflections
  /** Upper triangular, min(rows, cols) x cols. */
  readonly r: ColumnMatrix
}

/** M = Q R. Reads `m`, leaves it unchanged. */
export function householderQr(m: ColumnMatrix): QrFactors {
  const work: ColumnMatrix = { rows: m.rows, cols: m.cols, values: m.values.slice() }
  const rank = Math.min(m.rows, m.cols)
  const vectors: Float64Array[] = []
  const factors: number[] = []
  for (let k = 0; k < rank; k++) {
    const { vector, factor } = reflection(column(work, k), k)
    vectors.push(vector)
    factors.push(factor)
    for (let j = k; j < m.cols; j++) reflect(column(work, j), vector, factor, k)
  }
  return { q: { rows: m.rows, vectors, factors }, r: upperTriangle(work, rank) }
}

/** The reflection that sends entries k.. of x onto entry k, with the sign that avoids cancellation. */
function reflection(x: Float64Array, k: number): { vector: Float64Array; factor: number } {
  const vector = new Float64Array(x.length)
  vector.set(x.subarray(k), k)
  const norm = Math.sqrt(dot(vector, vector, k))
  if (norm === 0) return { vector, factor: 0 }
  const head = vector[k] as number
  vector[k] = head < 0 ? head - norm : head + norm
  const square = dot(vector, vector, k)
  return square === 0 ? { vector, factor: 0 } : { vector, factor: 2 / square }
}

function reflect(x: Float64Array, vector: Float64Array, factor: number, k: number): void {
  if (factor === 0) return
  const weight = factor * dot(x, vector, k)
  for (let i = k; i < x.length; i++) x[i] = (x[i] as number) - weight * (vector[i] as number)
}

function upperTriangle(work: ColumnMatrix, rank: number): ColumnMatrix {
  const r = columnMatrix(rank, work.cols)
  for (let j = 0; j < work.cols; j++) {
    const top = column(work, j).subarray(0, Math.min(j + 1, rank))
    column(r, j).set(top)
  }
  return r
}

/** Q X for X of at most `rows` rows; the missing rows are zero. Returns rows x X.cols. */
export function applyQ(q: Reflections, x: ColumnMatrix): ColumnMatrix {
  const out = columnMatrix(q.rows, x.cols)
  for (let j = 0; j < x.cols; j++) {
    const target = column(out, j)
    target.set(column(x, j))
    for (let k = q.vectors.length - 1; k >= 0; k--) {
      reflect(target, q.vectors[k] as Float64Array, q.factors[k] as number, k)
    }
  }
  return out
}
