/**
 * `transform: svd`: the same product B A = U S V' as A' = S^(1/2) V' and B' = U S^(1/2), same rank, largest component
 * first. Cost O((in + out) rank^2): QR of the two tall factors, then the SVD of a rank x rank matrix.
 */
import { type ColumnMatrix, column, columnMatrix, dot, transpose } from './column-matrix.ts'
import { applyQ, householderQr } from './householder.ts'
import { type JacobiSvd, jacobiSvd } from './jacobi-svd.ts'
import { componentsOfA, componentsOfB, fromComponents, type LoraFactors } from './lora-factors.ts'

/** The SVD gauge of a LoRA module. Components that the product does not have come out as zeros. */
export function svdGauge(factors: LoraFactors): LoraFactors {
  const { a, b } = singularFactors(factors, halfEach)
  return fromComponents(a, b)
}

/**
 * `transform: effect`: the singular vectors, each entry times the singular value of its component, so that an error of
 * one size anywhere in A or B changes the product by one size. Both factors are then divided by the root of the
 * product's norm, half way from equal errors of all modules to equal relative errors (docs/results.md). Component i
 * goes |B A| / s_i times into the product.
 */
export function effectFactors(factors: LoraFactors): LoraFactors {
  const { a, b, singular } = singularFactors(factors, wholeEach)
  const norm = Math.sqrt(dot(singular, singular))
  const divisor = Math.sqrt(norm)
  for (const side of [a, b])
    for (let k = 0; k < side.values.length; k++)
      side.values[k] = divisor === 0 ? 0 : (side.values[k] as number) / divisor
  const weights = new Float64Array(factors.rank)
  singular.forEach((s, i) => {
    weights[i] = s === 0 ? 0 : norm / s
  })
  return { ...fromComponents(a, b), weights }
}

function singularFactors(
  factors: LoraFactors,
  spread: Spread,
): { a: ColumnMatrix; b: ColumnMatrix; singular: Float64Array } {
  const qrA = householderQr(componentsOfA(factors))
  const qrB = householderQr(componentsOfB(factors))
  const { left, right, singular } = halves(product(qrB.r, qrA.r), spread)
  const a = applyQ(qrA.q, padded(right, factors.rank))
  const b = applyQ(qrB.q, padded(left, factors.rank))
  fixSigns(a, b)
  return { a, b, singular }
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

interface Halves {
  readonly left: ColumnMatrix
  readonly right: ColumnMatrix
  readonly singular: Float64Array
}

/** Of M = U S V': both sides with the parts of S that `spread` gives them. A wide M is decomposed as its transpose. */
function halves(m: ColumnMatrix, spread: Spread): Halves {
  if (m.rows >= m.cols) return halvesOf(jacobiSvd(m), spread)
  const { left, right, singular } = halvesOf(jacobiSvd(transpose(m)), spread)
  return { left: right, right: left, singular }
}

/** What a singular value becomes on either side: U S is divided by `over`, V multiplied by `times`. */
type Spread = (singular: number) => { readonly over: number; readonly times: number }

function halfEach(singular: number): ReturnType<Spread> {
  const root = Math.sqrt(singular)
  return { over: root, times: root }
}

function wholeEach(singular: number): ReturnType<Spread> {
  return { over: singular === 0 ? 0 : 1, times: singular }
}

function halvesOf({ scaledLeft, singular, right }: JacobiSvd, spread: Spread): Halves {
  singular.forEach((s, j) => {
    const { over, times } = spread(s)
    const x = column(scaledLeft, j)
    const y = column(right, j)
    for (let i = 0; i < x.length; i++) x[i] = over === 0 ? 0 : (x[i] as number) / over
    for (let i = 0; i < y.length; i++) y[i] = times * (y[i] as number)
  })
  return { left: scaledLeft, right, singular }
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
