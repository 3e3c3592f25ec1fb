import type { Digest } from '../../registry/digest.ts'

/** Bytes on their way out: stored, reconstructed or merged. The edge adds ranges and conditions. */
export interface ServedFile {
  readonly fileName: string
  readonly mediaType: string
  readonly size: number
  /** Same tag, same bytes. */
  readonly tag: Digest
  /** Revision whose file this is, and whether the request named it: then the answer never changes. */
  readonly revision?: string
  readonly immutable: boolean
  /** Bytes [start, end), in order. */
  stream(start: number, end: number, signal: AbortSignal): AsyncIterable<Uint8Array>
  /** A URL that serves the whole file without us. */
  signedUrl?(): Promise<string | undefined>
  /** Releases what the file holds open; called on every exit. */
  close?(): Promise<void>
}
