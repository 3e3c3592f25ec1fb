/** Thins out one task vector, in place. The rules and their corner cases are mergekit's. */
import { keepLargest } from './keep-largest.ts'
import type { MergeMethod } from './method-table.ts'
import { dropAtRandom, type MaskKey } from './random-mask.ts'

/** Below this an L1 norm is not used as a divisor. */
const SMALLEST_NORM = 1e-7

export interface Sparsity {
  readonly rule: MergeMethod['sparsify']
  /** Share of entries that stay, 0..1. */
  readonly density: number
  /** Multiply what stays so that the L1 norm is what it was. */
  readonly rescale: boolean
  readonly key: MaskKey
}

export function changesNothing({ rule, density }: Pick<Sparsity, 'rule' | 'density'>): boolean {
  return rule === 'none' || density >= 1
}

/** `magnitude` keeps max(1, floor(density * N)) entries (density 0: none), `random` each with probability density. */
export function sparsify(values: Float32Array, sparsity: Sparsity): void {
  if (changesNothing(sparsity)) return
  const { rule, density, rescale, key } = sparsity
  const before = rescale ? sumOfMagnitudes(values) : 0
  if (rule === 'random') dropAtRandom(values, density, key)
  else keepLargest(values, density <= 0 ? 0 : Math.max(1, Math.floor(density * values.length)))
  if (!rescale) return
  const after = sumOfMagnitudes(values)
  if (before < SMALLEST_NORM || after < SMALLEST_NORM) return
  const factor = Math.fround(before / after)
  for (let i = 0; i < values.length; i++) values[i]! *= factor
}

function sumOfMagnitudes(values: Float32Array): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += Math.abs(values[i]!)
  return sum
}
