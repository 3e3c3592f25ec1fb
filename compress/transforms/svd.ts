/**
 * `transform: svd`: the same product B A = U S V' as A' = S^(1/2) V' and B' = U S^(1/2), same rank, largest component
 * first. Cost O((in + out) rank^2): QR of the two tall factors, then the SVD of a rank x rank matrix.
 */
import { type ColumnMatrix, column, columnMatrix, transpose } from './column-matrix.ts'
import { applyQ, householderQr } from './householder.ts'
import { type JacobiSvd, jacobiSvd } from './jacobi-svd.ts'
import { componentsOfA, componentsOfB, fromComponents, type LoraFactors } from './lora-factors.ts'

/** The SVD gauge of a LoRA module. Components that the product does not have come out as zeros. */
export function svdGauge(factors: LoraFactors): LoraFactors {
  const qrA = householderQr(componentsOfA(factors))
  const qrB = householderQr(componentsOfB(factors))
  const { left, right } = halves(product(qrB.r, qrA.r))
  const a = applyQ(qrA.q, padded(right, factors.rank))
  const b = applyQ(qrB.q, padded(left, factors.rank))
  fixSigns(a, b)
  return fromComponents(a, b)
}

/** R_B R_A': (rows of R_B) x (rows of R_A), sums over ascending component. */
function product(rb: ColumnMatrix, ra: ColumnMatrix): ColumnMatrix {
  const out = columnMatrix(rb.rows, ra.rows)
  for (let j = 0; j < ra.rows; j++) {
    const target = column(out, j)
    for (let k = 0; k < ra.cols; k++) {
      const weight = ra.values[k * ra.rows + j] as number
      const source = column(rb, k)
      for (let i = 0; i < target.length; i++) target[i] = (target[i] as number) + weight * (source[i] as number)
    }
  }
  return out
}

/** U S^(1/2) and V S^(1/2) of M = U S V'. A wide M is decomposed as its transpose. */
function halves(m: ColumnMatrix): { left: ColumnMatrix; right: ColumnMatrix } {
  if (m.rows >= m.cols) return halvesOf(jacobiSvd(m))
  const { left, right } = halvesOf(jacobiSvd(transpose(m)))
  return { left: right, right: left }
}

function halvesOf({ scaledLeft, singular, right }: JacobiSvd): { left: ColumnMatrix; right: ColumnMatrix } {
  singular.forEach((s, j) => {
    const root = Math.sqrt(s)
    const x = column(scaledLeft, j)
    const y = column(right, j)
    for (let i = 0; i < x.length; i++) x[i] = root === 0 ? 0 : (x[i] as number) / root
    for (let i = 0; i < y.length; i++) y[i] = root * (y[i] as number)
  })
  return { left: scaledLeft, right }
}

/** A factor narrower than its rank has fewer singular values than components: the others are zero. */
function padded(m: ColumnMatrix, cols: number): ColumnMatrix {
  if (m.cols === cols) return m
  const out = columnMatrix(m.rows, cols)
  out.values.set(m.values)
  return out
}

/** The entry of largest magnitude (lowest index first) of each row of A' is positive: singular vectors have free signs. */
function fixSigns(a: ColumnMatrix, b: ColumnMatrix): void {
  for (let i = 0; i < a.cols; i++) {
    const x = column(a, i)
    let largest = 0
    for (const value of x) if (Math.abs(value) > Math.abs(largest)) largest = value
    if (largest >= 0) continue
    for (let k = 0; k < x.length; k++) x[k] = -(x[k] as number)
    const y = column(b, i)
    for (let k = 0; k < y.length; k++) y[k] = -(y[k] as number)
  }
}
