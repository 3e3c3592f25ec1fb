import type { Dtype } from './dtype.ts'
import type { TensorSource } from './tensor.ts'

/**
 * Where a tensor's bytes lie on disk: what a worker needs to read it by itself, so that a task carries a few words
 * instead of the bytes. `start` and `end` are absolute file offsets, end exclusive.
 */
export interface TensorLocation {
  readonly path: string
  readonly start: number
  readonly end: number
  readonly dtype: Dtype
  readonly shape: readonly number[]
}

/** A source whose tensors lie uncompressed in local files. */
export interface LocatedSource extends TensorSource {
  /** Throws TENSOR_NOT_FOUND. */
  locate(name: string): TensorLocation
}
