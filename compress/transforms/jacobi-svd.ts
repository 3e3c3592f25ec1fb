/**
 * Singular value decomposition of a small matrix by one-sided Jacobi rotations (Hestenes), in f64 with `+ - * /` and
 * sqrt alone and in a fixed order of rotations: the same bits on every IEEE machine (ALGORITHM.md, "Small SVD").
 */
import { type ColumnMatrix, column, columnMatrix, dot } from './column-matrix.ts'

/** Columns p and q count as orthogonal when |p.q| <= TOLERANCE * |p| |q|. */
const TOLERANCE = 2 ** -48
/** Convergence is quadratic: real factors need 5 to 12 sweeps. The limit stops a walk along rounding noise. */
const MAX_SWEEPS = 40

export interface JacobiSvd {
  /** M V: orthogonal columns, longest first; column j has length `singular[j]`. */
  readonly scaledLeft: ColumnMatrix
  readonly singular: Float64Array
  /** V, orthogonal. */
  readonly right: ColumnMatrix
}

/** Decomposes M (rows >= cols) as (M V) V'. */
export function jacobiSvd(m: ColumnMatrix): JacobiSvd {
  const w: ColumnMatrix = { rows: m.rows, cols: m.cols, values: m.values.slice() }
  const v = identity(m.cols)
  for (let sweep = 0; sweep < MAX_SWEEPS; sweep++) {
    if (!rotateAll(w, v)) break
  }
  return sorted(w, v)
}

/** One sweep over the pairs (p, q), p < q, row by row. True when something was rotated. */
function rotateAll(w: ColumnMatrix, v: ColumnMatrix): boolean {
  let rotated = false
  for (let p = 0; p < w.cols - 1; p++) {
    for (let q = p + 1; q < w.cols; q++) {
      rotated = rotatePair(w, v, p, q) || rotated
    }
  }
  return rotated
}

function rotatePair(w: ColumnMatrix, v: ColumnMatrix, p: number, q: number): boolean {
  const x = column(w, p)
  const y = column(w, q)
  const alpha = dot(x, x)
  const beta = dot(y, y)
  const gamma = dot(x, y)
  if (gamma === 0 || Math.abs(gamma) <= TOLERANCE * (Math.sqrt(alpha) * Math.sqrt(beta))) return false
  const zeta = (beta - alpha) / (2 * gamma)
  const root = Math.sqrt(1 + zeta * zeta)
  const tangent = zeta < 0 ? -1 / (root - zeta) : 1 / (root + zeta)
  const cosine = 1 / Math.sqrt(1 + tangent * tangent)
  const sine = cosine * tangent
  rotate(x, y, cosine, sine)
  rotate(column(v, p), column(v, q), cosine, sine)
  return true
}

function rotate(x: Float64Array, y: Float64Array, cosine: number, sine: number): void {
  for (let i = 0; i < x.length; i++) {
    const a = x[i] as number
    const b = y[i] as number
    x[i] = cosine * a - sine * b
    y[i] = sine * a + cosine * b
  }
}

/** Longest column first; equal lengths keep their order. */
function sorted(w: ColumnMatrix, v: ColumnMatrix): JacobiSvd {
  const lengths = Array.from({ length: w.cols }, (_, j) => Math.sqrt(dot(column(w, j), column(w, j))))
  const order = lengths.map((_, j) => j).sort((i, j) => (lengths[j] as number) - (lengths[i] as number) || i - j)
  const scaledLeft = columnMatrix(w.rows, w.cols)
  const right = columnMatrix(v.rows, v.cols)
  order.forEach((from, to) => {
    column(scaledLeft, to).set(column(w, from))
    column(right, to).set(column(v, from))
  })
  return { scaledLeft, singular: Float64Array.from(order, (j) => lengths[j] as number), right }
}

function identity(size: number): ColumnMatrix {
  const out = columnMatrix(size, size)
  for (let j = 0; j < size; j++) out.values[j * size + j] = 1
  return out
}
