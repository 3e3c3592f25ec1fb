/** A blob read piece by piece: headers by ranges over the network, the bulk from a local copy. */

import type { Digest } from '../../registry/digest.ts'
import type { Registry } from '../../registry/registry.ts'
import type { ByteSource } from '../../tensors/byte-source.ts'
import { type FileSource, openFileSource } from '../../tensors/node/file-source.ts'
import type { BlobCache, Lease } from './blob-cache.ts'

/** What is read remotely before the blob is fetched whole: the header of any safetensors file or container fits. */
const REMOTE_BYTES = 8 * 2 ** 20

/** Closing releases the local copy. */
export class BlobSource implements ByteSource {
  readonly size: number
  readonly #digest: Digest
  readonly #remote: Pick<ByteSource, 'read'>
  readonly #cache: BlobCache
  #remoteBytes = 0
  #local: Promise<{ file: FileSource; lease: Lease }> | undefined

  constructor(registry: Registry, cache: BlobCache, { digest, size }: { digest: Digest; size: number }) {
    this.size = size
    this.#digest = digest
    this.#remote = registry.blobSource(digest, size)
    this.#cache = cache
  }

  async read(start: number, end: number, signal?: AbortSignal): Promise<Uint8Array> {
    if (this.#local === undefined && this.#remoteBytes + (end - start) <= REMOTE_BYTES) {
      this.#remoteBytes += end - start
      return this.#remote.read(start, end, signal)
    }
    const { file } = await this.#open(signal)
    return file.read(start, end, signal)
  }

  async close(): Promise<void> {
    const opened = await this.#local?.catch(() => undefined)
    this.#local = undefined
    if (opened === undefined) return
    await opened.file.close()
    opened.lease.release()
  }

  #open(signal?: AbortSignal): Promise<{ file: FileSource; lease: Lease }> {
    if (this.#local !== undefined) return this.#local
    const opening = this.#openLocal(signal)
    this.#local = opening
    // A failure, or one reader's abort, must not be the answer to every later read.
    opening.catch(() => {
      if (this.#local === opening) this.#local = undefined
    })
    return opening
  }

  async #openLocal(signal?: AbortSignal): Promise<{ file: FileSource; lease: Lease }> {
    const lease = await this.#cache.lease(this.#digest, this.size, signal)
    try {
      return { file: await openFileSource(lease.path), lease }
    } catch (error) {
      lease.release()
      throw error
    }
  }
}
