/**
 * The two factors of a LoRA module as the transforms see them: the update is B A, and component i of the rank is row i
 * of A together with column i of B.
 */
import { type ColumnMatrix, columnMatrix } from './column-matrix.ts'

export interface LoraFactors {
  readonly rank: number
  readonly inFeatures: number
  readonly outFeatures: number
  /** rank x inFeatures, row-major, as `lora_A.weight` holds it. */
  readonly a: Float32Array
  /** outFeatures x rank, row-major, as `lora_B.weight` holds it. */
  readonly b: Float32Array
  /** Where they are not 1: how often each component (column of B times row of A) goes into the product. */
  readonly weights?: Float64Array
}

/** A' as columns: column i is component i of A. The row-major bytes of A are already that. */
export function componentsOfA({ rank, inFeatures, a }: LoraFactors): ColumnMatrix {
  return { rows: inFeatures, cols: rank, values: Float64Array.from(a) }
}

/** B as columns: column i is component i of B. */
export function componentsOfB({ rank, outFeatures, b }: LoraFactors): ColumnMatrix {
  const out = columnMatrix(outFeatures, rank)
  for (let row = 0; row < outFeatures; row++) {
    for (let i = 0; i < rank; i++) out.values[i * outFeatures + row] = b[row * rank + i] as number
  }
  return out
}

/** Back to PEFT's layout, each entry rounded once to f32. */
export function fromComponents(a: ColumnMatrix, b: ColumnMatrix): LoraFactors {
  const rank = a.cols
  const outFeatures = b.rows
  const bOut = new Float32Array(outFeatures * rank)
  for (let i = 0; i < rank; i++) {
    for (let row = 0; row < outFeatures; row++) bOut[row * rank + i] = b.values[i * outFeatures + row] as number
  }
  return { rank, inFeatures: a.rows, outFeatures, a: Float32Array.from(a.values), b: bOut }
}
