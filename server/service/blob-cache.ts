/**
 * Blobs as local files: workers and merges read files, not streams. A store on this disk lends its own; others are
 * copied once into a folder of bounded size, the least recently used making room.
 */
import { randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Digest, DigestHasher, digestHex } from '../../registry/digest.ts'
import { ServerError } from './errors.ts'

export interface BlobOrigin {
  openBlob(digest: Digest, range?: undefined, signal?: AbortSignal): Promise<Readable>
  /** The store's own file, where there is one. */
  localPath(digest: Digest): Promise<string | undefined>
}

/** A local file that stays in place until it is released. */
export interface Lease {
  readonly path: string
  release(): void
}

interface Entry {
  readonly size: number
  leases: number
  used: number
}

export class BlobCache {
  readonly #dir: string
  readonly #maxBytes: number
  readonly #origin: BlobOrigin
  readonly #entries: Map<string, Entry>
  readonly #fetching = new Map<string, Promise<void>>()
  #clock = 0

  private constructor(dir: string, maxBytes: number, origin: BlobOrigin, entries: Map<string, Entry>) {
    this.#dir = dir
    this.#maxBytes = maxBytes
    this.#origin = origin
    this.#entries = entries
    this.#clock = entries.size
  }

  /** Keeps what an earlier run left in `dir`: a file gets its name only when its bytes are on disk and verified. */
  static async open(dir: string, maxBytes: number, origin: BlobOrigin): Promise<BlobCache> {
    await mkdir(dir, { recursive: true })
    const found: { name: string; size: number; time: number }[] = []
    for (const name of await readdir(dir)) {
      const path = join(dir, name)
      const { size, mtimeMs } = await stat(path)
      if (/^[0-9a-f]{64}$/.test(name)) found.push({ name, size, time: mtimeMs })
      else await rm(path, { recursive: true, force: true })
    }
    found.sort((a, b) => a.time - b.time)
    const entries = new Map(found.map(({ name, size }, used) => [name, { size, leases: 0, used }]))
    return new BlobCache(dir, maxBytes, origin, entries)
  }

  /** Throws STORED_DAMAGED when the store's bytes do not have the digest, and what the store throws. */
  async lease(digest: Digest, size: number, signal?: AbortSignal): Promise<Lease> {
    const own = await this.#origin.localPath(digest)
    if (own !== undefined) return { path: own, release() {} }
    const name = digestHex(digest)
    const entry = this.#entries.get(name) ?? { size, leases: 0, used: 0 }
    this.#entries.set(name, entry)
    entry.leases += 1
    this.#clock += 1
    entry.used = this.#clock
    let released = false
    const release = () => {
      if (!released) entry.leases -= 1
      released = true
    }
    try {
      await this.#ensure(name, digest, signal)
      return { path: join(this.#dir, name), release }
    } catch (error) {
      release()
      throw error
    }
  }

  async #ensure(name: string, digest: Digest, signal?: AbortSignal): Promise<void> {
    const running = this.#fetching.get(name)
    if (running !== undefined) {
      // The one who fetches may give up; whoever waits then fetches for itself.
      const done = await running.then(
        () => true,
        () => false,
      )
      signal?.throwIfAborted()
      return done ? undefined : this.#ensure(name, digest, signal)
    }
    // Registered before anything is awaited, so that no second one starts beside it.
    const fetching = this.#bring(join(this.#dir, name), digest, signal)
    this.#fetching.set(name, fetching)
    try {
      await fetching
    } finally {
      this.#fetching.delete(name)
    }
  }

  async #bring(path: string, digest: Digest, signal?: AbortSignal): Promise<void> {
    if (await exists(path)) {
      const now = new Date()
      await utimes(path, now, now)
      return
    }
    await this.#makeRoom()
    await this.#fetch(path, digest, signal)
  }

  async #fetch(path: string, digest: Digest, signal?: AbortSignal): Promise<void> {
    const temp = join(this.#dir, `tmp-${randomBytes(8).toString('hex')}`)
    try {
      const hasher = new DigestHasher()
      const source = await this.#origin.openBlob(digest, undefined, signal)
      const hashed = async function* (stream: AsyncIterable<Uint8Array>) {
        for await (const bytes of stream) {
          hasher.update(bytes)
          yield bytes
        }
      }
      await pipeline(source, hashed, createWriteStream(temp, { flags: 'wx' }), signal === undefined ? {} : { signal })
      const actual = hasher.digest()
      if (actual !== digest) {
        throw new ServerError('STORED_DAMAGED', `the store's ${digest} has the bytes of ${actual}`, { digest, actual })
      }
      await sync(temp)
      await rename(temp, path)
    } finally {
      await rm(temp, { force: true })
    }
  }

  /** Deletes the least recently used files nobody holds until the sum fits. May stay above it while all are held. */
  async #makeRoom(): Promise<void> {
    let total = 0
    for (const { size } of this.#entries.values()) total += size
    const idle = [...this.#entries].filter(([, entry]) => entry.leases === 0).sort(([, a], [, b]) => a.used - b.used)
    for (const [name, { size }] of idle) {
      if (total <= this.#maxBytes) return
      this.#entries.delete(name)
      await rm(join(this.#dir, name), { force: true })
      total -= size
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
