import type { Dtype } from './dtype.ts'

/** Name, dtype and shape of a tensor, as a safetensors header states them. A shape of [] is a scalar. */
export interface TensorInfo {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
}

/**
 * Named tensors, readable one at a time and in any order without holding the rest in memory. Implemented by the
 * safetensors reader and by the container's views, so merging never learns what compression is.
 */
export interface TensorSource {
  /** In the order of the file they came from. */
  readonly tensors: readonly TensorInfo[]
  /** The safetensors `__metadata__` map. */
  readonly metadata: Readonly<Record<string, string>>
  /** Row-major values as f32 (one rounding from F64; integers as numbers). Throws TENSOR_NOT_FOUND. */
  read(name: string, signal?: AbortSignal): Promise<Float32Array>
  /** Little-endian bytes in the dtype of `tensors`, as an ordinary safetensors file holds them. */
  readBytes(name: string, signal?: AbortSignal): Promise<Uint8Array>
  /**
   * Bytes [start, end) of what readBytes gives; where they fill their buffer, it is the caller's to write to. Absent
   * where a part costs as much as the whole.
   */
  readRange?(name: string, start: number, end: number, signal?: AbortSignal): Promise<Uint8Array>
  /**
   * What readBytes gives, in order, in pieces with memory of their own; absent where the whole has to be made first. Some tensors
   * may still come in one piece.
   */
  streamBytes?(name: string, signal?: AbortSignal): AsyncIterable<Uint8Array>
  /** acc += weight * tensor, f32. Sparse sources skip the zeros; absent where densifying is all one could do. */
  addTo?(name: string, acc: Float32Array, weight: number, signal?: AbortSignal): Promise<void>
  close?(): Promise<void>
}

/** Receives tensors in order: the header first, so every output streams. */
export interface TensorSink {
  /** Fixes names, dtypes, shapes and their order; every byte count is known from here on. Called once, first. */
  begin(tensors: readonly TensorInfo[], metadata: Readonly<Record<string, string>>): Promise<void>
  /** The next tensor's little-endian bytes, in the order given to `begin`. */
  write(name: string, bytes: Uint8Array): Promise<void>
  /** After the last tensor. */
  end(): Promise<void>
}

/** Entries of a shape: 1 for a scalar. The caller has checked that the product stays below 2^53. */
export function elementCount(shape: readonly number[]): number {
  let count = 1
  for (const dimension of shape) count *= dimension
  return count
}
