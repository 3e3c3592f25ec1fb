/**
 * Output layers tied to the embedding: a checkpoint without `lm_head.weight` uses its embedding's weight for it.
 * Where one input of a merge has its own and another is tied, both must be given a value.
 */

import type { TensorInfo } from '../tensors/tensor.ts'
import type { Layout, NamedTensors, Part } from './contribution.ts'

const HEAD = /(?:^|\.)lm_head\.weight$/
const EMBEDDING = /(?:^|\.)(?:embed_tokens|wte|word_embeddings|embed_in)\.weight$/

export interface TiedHead {
  /** The output layer's name, and the embedding of the same shape. */
  readonly head: string
  readonly embedding: TensorInfo
  /** The reference itself has no such tensor: the merge unties it. */
  readonly unties: boolean
}

/** The head that needs the embedding for some input, or undefined. */
export function findTiedHead(reference: NamedTensors, layouts: readonly Layout[]): TiedHead | undefined {
  const embedding = [...reference.values()].find(({ name }) => EMBEDDING.test(name))
  if (!embedding) return undefined
  const fits = (info: TensorInfo | undefined) => info?.shape.join() === embedding.shape.join()
  const own = [...reference.values()].find((info) => HEAD.test(info.name) && fits(info))
  if (own) return { head: own.name, embedding, unties: false }
  for (const { extras } of layouts) {
    const extra = [...extras].find(([name, part]) => HEAD.test(name) && fits(part.info))
    if (extra) return { head: extra[0], embedding, unties: true }
  }
  return undefined
}

/**
 * The layout with a say about the head. A whole model without one, and any input where the base itself is tied, says
 * about the head what it says about the embedding.
 */
export function withHead(layout: Layout, { head, embedding, unties }: TiedHead, isModel: boolean): Layout {
  const parts = new Map(layout.parts)
  const extras = new Map(layout.extras)
  const own: readonly Part[] | undefined = extras.has(head) ? [extras.get(head)!] : parts.get(head)
  extras.delete(head)
  const say = own ?? (isModel || unties ? parts.get(embedding.name) : undefined)
  if (say) parts.set(head, say)
  return { parts, extras }
}
