import type { Readable } from 'node:stream'
import type { Digest } from './digest.ts'

/**
 * Bytes under opaque keys. Three implementations (memory, folder, S3) pass one contract suite.
 * Absent is a value, failure is an exception (STORE_UNAVAILABLE). A write is all or nothing: a reader never sees a part
 * of it, and a write that fails or is cut off leaves the key as it was. Keys are what checkKey() of keys.ts lets pass.
 */
export interface BlobStore {
  stat(key: string): Promise<BlobStat | undefined>
  /**
   * Bytes of the key, or of [start, end), which must hold at least one byte and lie within the object. The stream
   * errors rather than ending early. Throws BLOB_NOT_FOUND, RANGE_INVALID.
   */
  read(key: string, range?: ByteRange, signal?: AbortSignal): Promise<Readable>
  /**
   * Stores the body. `ifAbsent`: does nothing to a key that exists and answers `written: false`; `ifMatch`: replaces
   * only the version with this etag, else (also when the key is gone) throws REF_CONFLICT. A file that is not of the
   * announced size or digest throws DIGEST_MISMATCH.
   */
  write(key: string, body: BlobBody, condition?: WriteCondition): Promise<WriteResult>
  /** Absent is fine. */
  delete(key: string): Promise<void>
  /**
   * Every key that begins with `prefix`, once; ascending by the bytes of the key in UTF-8. Where one folder's name
   * begins another's (`a/`, `a-b/`), which of the two comes first differs between stores.
   */
  list(prefix: string): AsyncIterable<BlobStat>
  /** A URL that serves the key without us for so long, or undefined where the store cannot make one. */
  signedUrl(key: string, ttlSeconds: number, fileName?: string): Promise<string | undefined>
  /** What writes that never ended before this time left behind (temp files, open uploads); removed if asked. */
  unfinished(before: Date, remove: boolean): Promise<readonly string[]>
  /** Path of the object where it is a plain file on this machine: to be read, never written. */
  localPath?(key: string): Promise<string | undefined>
}

export interface BlobStat {
  readonly key: string
  readonly size: number
  /** Changes whenever the content does; opaque. */
  readonly etag: string
  readonly modified: Date
}

/** [start, end) */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** Small things as bytes, big ones as a file that stays in place until the write resolves. */
export type BlobBody = Uint8Array | FileBody
export interface FileBody {
  readonly path: string
  readonly size: number
  /** When given, bytes with another digest are refused. */
  readonly digest?: Digest
}
export type WriteCondition = { readonly ifAbsent: true } | { readonly ifMatch: string }
export interface WriteResult {
  readonly etag: string
  readonly written: boolean
}
