import { TensorError } from './errors.ts'

/** Random access to bytes: a file, memory, a blob store and an HTTP range all look the same to the readers. */
export interface ByteSource {
  /** Total bytes. */
  readonly size: number
  /** Bytes [start, end). Throws SOURCE_TRUNCATED when fewer are there; never returns a short array. */
  read(start: number, end: number, signal?: AbortSignal): Promise<Uint8Array>
  /** Releases what the source holds (a file descriptor). */
  close?(): Promise<void>
}

/** A source over bytes already in memory. Reads are views, not copies: do not write to them. */
export function memorySource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.byteLength,
    async read(start, end) {
      if (start < 0 || end < start || end > bytes.byteLength) {
        throw new TensorError('SOURCE_TRUNCATED', `bytes ${start}..${end} asked of ${bytes.byteLength}`, { start, end })
      }
      return bytes.subarray(start, end)
    },
  }
}
