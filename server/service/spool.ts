/** Temporary files with an owner: one folder per upload or job, gone on every exit; leftovers of a crash go at boot. */
import { createHash, randomBytes } from 'node:crypto'
import { type FileHandle, mkdir, open, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Digest } from '../../registry/digest.ts'
import { ServerError } from './errors.ts'

/** Bytes gathered before one write: the socket's 64 KiB pieces would cost a system call each. */
const WRITE_BYTES = 2 ** 20

export class SpoolRoot {
  readonly dir: string
  readonly #live = new Set<Spool>()
  #idle: (() => void)[] = []

  private constructor(dir: string) {
    this.dir = dir
  }

  /**
   * Creates `dir` and empties it: the caller holds the lock on the state folder (job-store.ts), so whatever lies here
   * belongs to a process that died.
   */
  static async open(dir: string): Promise<SpoolRoot> {
    await rm(dir, { recursive: true, force: true })
    await mkdir(dir, { recursive: true })
    return new SpoolRoot(dir)
  }

  /** A fresh folder. Whoever asks for it calls `discard` in a `finally`. */
  async create(): Promise<Spool> {
    const dir = join(this.dir, randomBytes(12).toString('hex'))
    await mkdir(dir)
    const spool = new Spool(dir, () => this.#gone(spool))
    this.#live.add(spool)
    return spool
  }

  get live(): number {
    return this.#live.size
  }

  /** Resolves when every folder has been discarded. */
  idle(): Promise<void> {
    if (this.#live.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  /** Deletes the whole folder, whatever is still in it. */
  async close(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true })
  }

  #gone(spool: Spool): void {
    this.#live.delete(spool)
    if (this.#live.size > 0) return
    for (const resolve of this.#idle) resolve()
    this.#idle = []
  }
}

/** What one stream became on disk. */
export interface SpooledFile {
  readonly file: string
  readonly digest: Digest
  readonly size: number
}

/** Looks at the bytes of a file while they pass; may throw to end the upload there. */
export interface StreamWatch {
  push(bytes: Uint8Array): void
  end(size: number): void
}

export interface ReceiveOptions {
  /** More bytes than this are TOO_LARGE. */
  readonly maxBytes?: number
  /** What the error calls the stream. */
  readonly label?: string
  readonly watch?: StreamWatch
  readonly signal?: AbortSignal
}

export class Spool {
  readonly dir: string
  readonly #onGone: () => void
  #count = 0

  constructor(dir: string, onGone: () => void) {
    this.dir = dir
    this.#onGone = onGone
  }

  /** A path for a new file. Names are ours: what a client calls its file never reaches the file system. */
  nextPath(): string {
    this.#count += 1
    return join(this.dir, String(this.#count))
  }

  /** Writes a stream to a new file, hashing and counting on the way. Throws TOO_LARGE, SPOOL_FULL. */
  async receive(stream: AsyncIterable<Uint8Array>, options: ReceiveOptions = {}): Promise<SpooledFile> {
    const file = this.nextPath()
    const handle = await open(file, 'wx')
    try {
      const { digest, size } = await copyHashing(stream, handle, options)
      options.watch?.end(size)
      return { file, digest, size }
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ENOSPC') throw error
      throw new ServerError('SPOOL_FULL', 'the disk of the spool is full', {}, { cause: error })
    } finally {
      await handle.close()
    }
  }

  /** A folder whose entries, under the given names, are links to files: how readers of model folders see blobs. */
  async folderOf(entries: ReadonlyMap<string, string>): Promise<string> {
    const folder = this.nextPath()
    await mkdir(folder)
    for (const [name, target] of entries) await symlink(target, join(folder, name))
    return folder
  }

  async discard(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true })
    this.#onGone()
  }
}

async function copyHashing(
  stream: AsyncIterable<Uint8Array>,
  handle: FileHandle,
  { maxBytes = Number.POSITIVE_INFINITY, label = 'the file', watch, signal }: ReceiveOptions,
): Promise<{ digest: Digest; size: number }> {
  const hash = createHash('sha256')
  let size = 0
  let held: Uint8Array[] = []
  let heldBytes = 0
  const flush = async () => {
    if (heldBytes === 0) return
    const { bytesWritten } = await handle.writev(held)
    if (bytesWritten !== heldBytes) throw new Error(`the spool took ${bytesWritten} of ${heldBytes} bytes`)
    held = []
    heldBytes = 0
  }
  for await (const bytes of stream) {
    signal?.throwIfAborted()
    size += bytes.byteLength
    if (size > maxBytes) throw new ServerError('TOO_LARGE', `${label} exceeds ${maxBytes} bytes`, { limit: maxBytes })
    hash.update(bytes)
    watch?.push(bytes)
    held.push(bytes)
    heldBytes += bytes.byteLength
    if (heldBytes >= WRITE_BYTES) await flush()
  }
  await flush()
  return { digest: `sha256:${hash.digest('hex')}`, size }
}
