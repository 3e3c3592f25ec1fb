/**
 * Finds LoRA modules whose effect did not survive: a global threshold over raw factors keeps A's random start and drops
 * B, and what is then published under the adapter's name is the base model.
 */
import { CompressError } from './errors.ts'
import type { ProductStats } from './quantize-pair.ts'

/**
 * Below this cosine between B A and its quantised form a module counts as lost, whatever its scales: the best that any
 * gain could do is a relative error of sqrt(1 - 0.2^2) = 0.98. Measured on the four adapters of
 * docs/decisions/0004-defaults.md: settings that keep the task stay above 0.24 in every module.
 */
export const LOST_COSINE = 0.2

export type Loss = 'lora_A' | 'lora_B' | 'product' | null

/** What a module lost: a whole factor, or so much of both that their product points elsewhere. */
export function lossOf({ lost, squares, quantizedSquares, dot }: ProductStats): Loss {
  if (lost !== null || squares === 0) return lost
  return dot <= LOST_COSINE * Math.sqrt(squares * quantizedSquares) ? 'product' : null
}

export interface Warning {
  readonly code: 'FACTOR_LOST'
  readonly message: string
  readonly detail: Readonly<Record<string, unknown>>
}

/** Modules named in a message; the report has them all. */
const NAMED_MODULES = 5

export function factorLossWarning(products: readonly ProductStats[]): Warning | undefined {
  const lost = products.filter((product) => lossOf(product) !== null)
  const [first] = lost
  if (first === undefined) return undefined
  const named = lost.slice(0, NAMED_MODULES).map(({ module }) => module)
  const more = lost.length > named.length ? ` and ${lost.length - named.length} more` : ''
  return {
    code: 'FACTOR_LOST',
    message:
      `${lost.length} of ${products.length} LoRA modules have lost their effect (${named.join(', ')}${more}): ` +
      "little of lora_B or lora_A is above the threshold. Use transform 'svd' with scope 'tensor', or a higher density",
    detail: {
      modules: lost.map((product) => ({ module: product.module, lost: lossOf(product) })),
      of: products.length,
    },
  }
}

/** The same finding under `strict`. */
export function factorLossError({ message, detail }: Warning): CompressError {
  return new CompressError('FACTOR_LOST', message, { ...detail })
}
