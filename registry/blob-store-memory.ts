/** Blobs in this process's memory: for tests and for `memory:`, gone at exit. */
import { addAbortSignal, Readable } from 'node:stream'
import type { BlobBody, BlobStat, BlobStore, ByteRange, WriteCondition, WriteResult } from './blob-store.ts'
import { bodyBytes } from './blob-store-fs-body.ts'
import { checkKey } from './keys.ts'
import { compareUtf8 } from './order.ts'
import { blobNotFound, checkRange, versionConflict } from './store-errors.ts'

interface Entry {
  readonly bytes: Uint8Array
  readonly stat: BlobStat
}

export class MemoryBlobStore implements BlobStore {
  readonly #entries = new Map<string, Entry>()
  #version = 0

  async stat(key: string): Promise<BlobStat | undefined> {
    checkKey(key)
    return this.#entries.get(key)?.stat
  }

  async read(key: string, range?: ByteRange, signal?: AbortSignal): Promise<Readable> {
    checkKey(key)
    signal?.throwIfAborted()
    const entry = this.#entries.get(key)
    if (entry === undefined) throw blobNotFound(key)
    if (range !== undefined) checkRange(key, range, entry.bytes.byteLength)
    const bytes = range === undefined ? entry.bytes : entry.bytes.subarray(range.start, range.end)
    const stream = Readable.from(bytes.byteLength === 0 ? [] : [Buffer.from(bytes)], { objectMode: false })
    return signal === undefined ? stream : addAbortSignal(signal, stream)
  }

  async write(key: string, body: BlobBody, condition?: WriteCondition): Promise<WriteResult> {
    checkKey(key)
    const bytes = Uint8Array.from(await bodyBytes(body))
    // No await below: the check and the change are one step.
    const present = this.#entries.get(key)?.stat
    if (condition !== undefined && 'ifAbsent' in condition && present !== undefined) {
      return { etag: present.etag, written: false }
    }
    if (condition !== undefined && 'ifMatch' in condition && present?.etag !== condition.ifMatch)
      throw versionConflict(key)
    this.#version += 1
    const etag = `v${this.#version}`
    this.#entries.set(key, { bytes, stat: { key, size: bytes.byteLength, etag, modified: new Date() } })
    return { etag, written: true }
  }

  async delete(key: string): Promise<void> {
    checkKey(key)
    this.#entries.delete(key)
  }

  async *list(prefix: string): AsyncIterable<BlobStat> {
    const keys = [...this.#entries.keys()].filter((key) => key.startsWith(prefix)).sort(compareUtf8)
    for (const key of keys) {
      const entry = this.#entries.get(key)
      if (entry !== undefined) yield entry.stat
    }
  }

  async signedUrl(): Promise<string | undefined> {
    return undefined
  }

  async unfinished(): Promise<readonly string[]> {
    return []
  }
}
