/**
 * Blobs as files below one folder; the key is the relative path. A write goes to a temp file beside them, is synced,
 * then linked (if absent) or renamed into place, and the folder is synced: after a power cut an object is there whole
 * or not at all. Temp files live in `.tmp`, which no key can name.
 */
import { createHash, randomUUID } from 'node:crypto'
import { type BigIntStats, createReadStream } from 'node:fs'
import { type FileHandle, link, mkdir, open, readdir, rename, rm, stat, unlink, utimes } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'
import type { Readable } from 'node:stream'
import type { BlobBody, BlobStat, BlobStore, ByteRange, WriteCondition, WriteResult } from './blob-store.ts'
import { checkedFile } from './blob-store-fs-body.ts'
import { withLockFile } from './blob-store-fs-lock.ts'
import { RegistryError } from './errors.ts'
import { checkKey } from './keys.ts'
import { compareUtf8 } from './order.ts'
import { blobNotFound, checkRange, versionConflict } from './store-errors.ts'

const TEMP = '.tmp'
const READ_BYTES = 1024 * 1024

/** Opens (and makes, where missing) the folder. Throws STORE_UNAVAILABLE. */
export async function openFsStore(folder: string): Promise<FsBlobStore> {
  const root = resolve(folder)
  await guarded(root, () => mkdir(join(root, TEMP), { recursive: true }))
  return new FsBlobStore(root)
}

export class FsBlobStore implements BlobStore {
  readonly #root: string
  /** Folders known to exist and to be synced into their parents. */
  readonly #folders = new Set<string>()

  /** `root` holds a `.tmp` folder already: see openFsStore. */
  constructor(root: string) {
    this.#root = root
  }

  async stat(key: string): Promise<BlobStat | undefined> {
    const path = this.#path(key)
    return guarded(key, () => statOf(key, path))
  }

  async read(key: string, range?: ByteRange, signal?: AbortSignal): Promise<Readable> {
    const path = this.#path(key)
    signal?.throwIfAborted()
    const handle = await guarded(key, () => openExisting(key, path))
    try {
      const info = await handle.stat()
      if (!info.isFile()) throw blobNotFound(key)
      if (range !== undefined) checkRange(key, range, info.size)
      return createReadStream('', {
        fd: handle,
        highWaterMark: READ_BYTES,
        ...(range === undefined ? {} : { start: range.start, end: range.end - 1 }),
        ...(signal === undefined ? {} : { signal }),
      })
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  async write(key: string, body: BlobBody, condition?: WriteCondition): Promise<WriteResult> {
    const path = this.#path(key)
    const onlyNew = condition !== undefined && 'ifAbsent' in condition
    return guarded(key, async () => {
      const present = onlyNew ? await statOf(key, path) : undefined
      if (present !== undefined) return { etag: present.etag, written: false }
      await this.#makeFolder(dirname(path))
      const temp = join(this.#root, TEMP, randomUUID())
      try {
        await stage(temp, body)
        if (onlyNew) return await placeNew(key, temp, path)
        return await this.#locked(key, () => replace(key, temp, path, condition?.ifMatch))
      } finally {
        await rm(temp, { force: true })
      }
    })
  }

  async delete(key: string): Promise<void> {
    const path = this.#path(key)
    await guarded(key, () =>
      this.#locked(key, async () => {
        if (await removed(path)) await syncFolder(dirname(path))
      }),
    )
  }

  list(prefix: string): AsyncIterable<BlobStat> {
    return listFolder(this.#root, '', prefix)
  }

  async signedUrl(): Promise<string | undefined> {
    return undefined
  }

  async unfinished(before: Date, remove: boolean): Promise<readonly string[]> {
    const folder = join(this.#root, TEMP)
    const found: string[] = []
    for (const name of await guarded(TEMP, () => readdir(folder))) {
      const info = await stat(join(folder, name)).catch(() => undefined)
      if (info === undefined || !info.isFile() || info.mtime >= before) continue
      found.push(`${TEMP}/${name}`)
      if (remove) await guarded(TEMP, () => rm(join(folder, name), { force: true }))
    }
    return found.sort()
  }

  async localPath(key: string): Promise<string | undefined> {
    const path = this.#path(key)
    return (await this.stat(key)) === undefined ? undefined : path
  }

  #path(key: string): string {
    checkKey(key)
    return join(this.#root, ...key.split('/'))
  }

  /** Replacing and deleting read before they write: one at a time per key. */
  #locked<T>(key: string, action: () => Promise<T>): Promise<T> {
    const name = `${createHash('sha256').update(key).digest('hex').slice(0, 32)}.lock`
    return withLockFile(join(this.#root, TEMP, name), action)
  }

  async #makeFolder(folder: string): Promise<void> {
    if (this.#folders.has(folder)) return
    await mkdir(folder, { recursive: true })
    // A new folder survives a power cut only when its parent is synced too.
    for (let at = folder; at.startsWith(this.#root + sep); at = dirname(at)) await syncFolder(dirname(at))
    this.#folders.add(folder)
  }
}

async function stage(temp: string, body: BlobBody): Promise<void> {
  const handle = await open(temp, 'wx')
  try {
    if (body instanceof Uint8Array) await handle.writeFile(body)
    else for await (const chunk of checkedFile(body)) await writeAll(handle, chunk)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let done = 0; done < chunk.byteLength; ) {
    done += (await handle.write(chunk, done, chunk.byteLength - done)).bytesWritten
  }
}

/** link() is the one call that fails when the name is taken: of many writers exactly one gets it. */
async function placeNew(key: string, temp: string, path: string): Promise<WriteResult> {
  for (;;) {
    const written = await linked(temp, path)
    const now = await statOf(key, path)
    if (now === undefined) continue // deleted in between
    // Also for the loser: what it will rely on must be as durable as what it would have written.
    await syncFolder(dirname(path))
    return { etag: now.etag, written }
  }
}

async function linked(temp: string, path: string): Promise<boolean> {
  try {
    await link(temp, path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

async function replace(key: string, temp: string, path: string, ifMatch: string | undefined): Promise<WriteResult> {
  const present = await statOf(key, path)
  if (ifMatch !== undefined && present?.etag !== ifMatch) throw versionConflict(key)
  if (present !== undefined) await moveTimeForward(temp, present.modified)
  await rename(temp, path)
  await syncFolder(dirname(path))
  const now = await statOf(key, path)
  if (now === undefined) throw versionConflict(key)
  return { etag: now.etag, written: true }
}

/**
 * The etag is made of time, size and inode; inodes are reused and a clock tick is milliseconds long, so two versions
 * could look alike. Each version of a key therefore gets a later time than the one before it: 2 ms, since a time on
 * its way through a double may lose a microsecond.
 */
async function moveTimeForward(temp: string, previous: Date): Promise<void> {
  const millis = Math.max(Date.now(), Math.floor(previous.getTime()) + 2)
  await utimes(temp, millis / 1000, millis / 1000)
}

async function statOf(key: string, path: string): Promise<BlobStat | undefined> {
  try {
    const info = await stat(path, { bigint: true })
    return info.isFile() ? { key, size: Number(info.size), etag: etagOf(info), modified: info.mtime } : undefined
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw error
  }
}

function etagOf(info: BigIntStats): string {
  return [info.mtimeNs, info.size, info.ino].map((part) => part.toString(36)).join('-')
}

async function openExisting(key: string, path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (error) {
    if (isAbsent(error)) throw blobNotFound(key)
    throw error
  }
}

async function removed(path: string): Promise<boolean> {
  try {
    await unlink(path)
    return true
  } catch (error) {
    if (isAbsent(error)) return false
    throw error
  }
}

/** Depth first in key order: a folder sorts where its name and "/" do. Skips what no key can name. */
async function* listFolder(root: string, folder: string, prefix: string): AsyncGenerator<BlobStat> {
  const entries = await guarded(folder, () => entriesOf(join(root, folder)))
  const keys = entries
    .filter((entry) => !entry.name.startsWith('.'))
    .map((entry) => folder + entry.name + (entry.isDirectory() ? '/' : ''))
    .sort(compareUtf8)
  for (const key of keys) {
    if (key.endsWith('/')) {
      if (key.startsWith(prefix) || prefix.startsWith(key)) yield* listFolder(root, key, prefix)
    } else if (key.startsWith(prefix)) {
      const found = await guarded(key, () => statOf(key, join(root, key)))
      if (found !== undefined) yield found
    }
  }
}

async function entriesOf(path: string) {
  try {
    return await readdir(path, { withFileTypes: true })
  } catch (error) {
    if (isAbsent(error)) return []
    throw error
  }
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Turns what the file system refuses (no space, no right, a failing disk) into STORE_UNAVAILABLE. */
async function guarded<T>(key: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    const code = codeOf(error)
    if (code === undefined || error instanceof RegistryError) throw error
    const message = `the store's folder answered ${code} for ${key}`
    throw new RegistryError('STORE_UNAVAILABLE', message, { key, code }, { cause: error })
  }
}

function isAbsent(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}

function codeOf(error: unknown): string | undefined {
  const { code, syscall } = error as NodeJS.ErrnoException
  return typeof code === 'string' && typeof syscall === 'string' ? code : undefined
}
