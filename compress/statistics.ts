/** Moments of a task vector: taken per tensor, combined in name order, so that no result depends on threads. */
import { CompressError } from './errors.ts'
import { kernels } from './kernels/default.ts'

export interface Moments {
  readonly entries: number
  readonly sum: number
  readonly sumSquares: number
}

const NOTHING: Moments = { entries: 0, sum: 0, sumSquares: 0 }

/**
 * f64 moments of one tensor of tau, or of the part of it that begins at `offset`. Throws NOT_FINITE naming the tensor
 * and the first bad index.
 */
export function momentsOf(tau: Float32Array, name: string, offset = 0): Moments {
  const { sum, sumSquares, nonFinite } = kernels().moments(tau)
  if (nonFinite >= 0) throw notFinite(name, offset + nonFinite, tau[nonFinite] as number)
  return { entries: tau.length, sum, sumSquares }
}

/** Adds from the first to the last, in f64. The caller brings name order. */
export function combineMoments(parts: readonly Moments[]): Moments {
  return parts.reduce(
    (total, part) => ({
      entries: total.entries + part.entries,
      sum: total.sum + part.sum,
      sumSquares: total.sumSquares + part.sumSquares,
    }),
    NOTHING,
  )
}

/** Unbiased (n - 1) standard deviation; 0 for fewer than two entries, where it has no value. */
export function standardDeviation({ entries, sum, sumSquares }: Moments): number {
  if (entries < 2) return 0
  const centred = sumSquares - (sum * sum) / entries
  return Math.sqrt(Math.max(0, centred) / (entries - 1))
}

export function notFinite(name: string, index: number, value: number): CompressError {
  return new CompressError(
    'NOT_FINITE',
    `${name} is ${value} at flat index ${index}: only finite weights are accepted`,
    {
      tensor: name,
      index,
      value: String(value),
    },
  )
}
