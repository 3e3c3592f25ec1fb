/** What a merge is made from, and how the planner asks for it. */
import type { AdapterConfig } from '../tensors/adapter-config.ts'
import type { TensorSource } from '../tensors/tensor.ts'

export interface MergeInput {
  /** As the recipe names it, for messages. */
  readonly ref: string
  /** Digest of the content: equal identities mean equal bytes. Part of the plan's digest and of random masks. */
  readonly identity: string
  /**
   * `model`: whole weights. `task_vector`: differences to a base, where a missing tensor means unchanged.
   * `lora`: a PEFT adapter, with `adapterConfig`.
   */
  readonly kind: 'model' | 'task_vector' | 'lora'
  readonly source: TensorSource
  readonly adapterConfig?: AdapterConfig
  /** Weights digest of the base it was made from, where that is known. */
  readonly madeFrom?: string | null
  /** Weights digest of a model. Needed on a base as soon as an input says what it was made from. */
  readonly weightsDigest?: string
}

/** Opens one name of the recipe (`ns/name`, `ns/name@revision`, a path), reading headers only. */
export type OpenInput = (ref: string) => Promise<MergeInput>
