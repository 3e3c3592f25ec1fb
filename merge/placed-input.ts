/** The inputs of a whole-model merge after their tensors have been matched with those of the output. */
import type { TensorSource } from '../tensors/tensor.ts'
import type { Layout, NamedTensors } from './contribution.ts'
import type { MergeInput } from './input.ts'
import type { OpenedInput } from './open-inputs.ts'

/** An input whose tensors have found their places. */
export interface PlacedInput {
  readonly opened: OpenedInput
  readonly layout: Layout
}

/** What output tensors are named after: the base, or for `linear` without one the first model. */
export interface Reference {
  readonly names: NamedTensors
  readonly source: TensorSource
  readonly base: MergeInput | null
}
