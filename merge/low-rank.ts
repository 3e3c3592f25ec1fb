/** The product of a LoRA pair, row by row, so that the whole delta of a large matrix need not exist at once. */
import type { LowRankPart } from './contribution.ts'

/** left (rows x rank) times right (rank x cols): the delta in the shape of the base's tensor, before scaling. */
export interface Factors {
  readonly left: Float32Array
  readonly right: Float32Array
  readonly rows: number
  readonly cols: number
  readonly rank: number
}

/** B and A as they are stored, or A^T and B^T for embeddings and weights stored (in, out). */
export async function readFactors(part: LowRankPart, signal?: AbortSignal): Promise<Factors> {
  const { pair, source, transposed } = part
  const a = await source.read(pair.a, signal)
  const b = await source.read(pair.b, signal)
  const { rank, inFeatures, outFeatures } = pair
  if (!transposed) return { left: b, right: a, rows: outFeatures, cols: inFeatures, rank }
  return {
    left: transpose(a, rank, inFeatures),
    right: transpose(b, outFeatures, rank),
    rows: inFeatures,
    cols: outFeatures,
    rank,
  }
}

/**
 * acc += weight * round(scaling * round(left . right)), each step rounded to f32 as PEFT's tensors are; the sums over
 * the rank are taken in f64, so that no order of summation shows.
 */
export function addProduct(acc: Float32Array, factors: Factors, scaling: number, weight: number): void {
  const { rows, cols } = factors
  const row = new Float64Array(cols)
  const scale = Math.fround(scaling)
  const factor = Math.fround(weight)
  for (let i = 0; i < rows; i++) {
    multiplyRow(row, factors, i)
    const start = i * cols
    for (let j = 0; j < cols; j++) {
      const delta = Math.fround(Math.fround(row[j]!) * scale)
      acc[start + j] = acc[start + j]! + Math.fround(delta * factor)
    }
  }
}

/** row = row i of left . right. Four components at a time: one pass over the row costs more than the products. */
function multiplyRow(row: Float64Array, { left, right, cols, rank }: Factors, i: number): void {
  row.fill(0)
  const start = i * rank
  let k = 0
  for (; k + 4 <= rank; k += 4) {
    const [a, b, c, d] = [left[start + k]!, left[start + k + 1]!, left[start + k + 2]!, left[start + k + 3]!]
    const at = k * cols
    for (let j = 0; j < cols; j++) {
      const p = at + j
      row[j] = row[j]! + a * right[p]! + b * right[p + cols]! + c * right[p + 2 * cols]! + d * right[p + 3 * cols]!
    }
  }
  for (; k < rank; k++) {
    const a = left[start + k]!
    const at = k * cols
    for (let j = 0; j < cols; j++) row[j] = row[j]! + a * right[at + j]!
  }
}

function transpose(values: Float32Array, rows: number, cols: number): Float32Array {
  const out = new Float32Array(values.length)
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) out[j * rows + i] = values[i * cols + j]!
  }
  return out
}
