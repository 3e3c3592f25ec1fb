/** Local files as ByteSource and ByteSink. */
import { type FileHandle, open, rm } from 'node:fs/promises'
import type { ByteSource } from '../byte-source.ts'
import { TensorError } from '../errors.ts'
import type { ByteSink } from '../safetensors-writer.ts'

/** One system call: below the 2 GiB that Linux moves at once, and a point to notice an abort. */
const READ_BYTES = 64 << 20

/** A file that stays open until `close`. Each read returns a buffer of its own. */
export class FileSource implements ByteSource {
  readonly path: string
  readonly size: number
  private readonly handle: FileHandle

  constructor(path: string, size: number, handle: FileHandle) {
    this.path = path
    this.size = size
    this.handle = handle
  }

  async read(start: number, end: number, signal?: AbortSignal): Promise<Uint8Array> {
    if (start < 0 || end < start || end > this.size) throw this.truncated(start, end, this.size)
    const bytes = new Uint8Array(end - start)
    await this.readInto(bytes, start, signal)
    return bytes
  }

  /** Fills `bytes` from `start`: for a caller that uses the same memory again and again. Throws SOURCE_TRUNCATED. */
  async readInto(bytes: Uint8Array, start: number, signal?: AbortSignal): Promise<void> {
    const end = start + bytes.byteLength
    if (start < 0 || end > this.size) throw this.truncated(start, end, this.size)
    let filled = 0
    while (filled < bytes.byteLength) {
      signal?.throwIfAborted()
      const length = Math.min(READ_BYTES, bytes.byteLength - filled)
      const { bytesRead } = await this.handle.read(bytes, filled, length, start + filled)
      if (bytesRead === 0) throw this.truncated(start, end, start + filled)
      filled += bytesRead
    }
  }

  async close(): Promise<void> {
    await this.handle.close()
  }

  private truncated(start: number, end: number, present: number): TensorError {
    return new TensorError('SOURCE_TRUNCATED', `${this.path}: bytes ${start}..${end} asked of ${present}`, {
      path: this.path,
      start,
      end,
      present,
    })
  }
}

/** Throws WEIGHTS_NOT_FOUND where there is no such file. */
export async function openFileSource(path: string): Promise<FileSource> {
  const handle = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error
    throw new TensorError('WEIGHTS_NOT_FOUND', `no file ${path}`, { path }, { cause: error })
  })
  try {
    const stats = await handle.stat()
    if (!stats.isFile()) throw new TensorError('WEIGHTS_NOT_FOUND', `${path} is not a file`, { path })
    return new FileSource(path, stats.size, handle)
  } catch (error) {
    await handle.close()
    throw error
  }
}

export interface FileSink extends ByteSink {
  /** Closes and deletes the file; for an output that failed half way. */
  abort(): Promise<void>
}

/** Creates or replaces a file. After `end` its bytes are on disk, not only in the page cache. */
export async function fileSink(path: string): Promise<FileSink> {
  const handle = await open(path, 'w')
  return {
    async write(bytes) {
      let written = 0
      while (written < bytes.byteLength) {
        const { bytesWritten } = await handle.write(bytes, written, bytes.byteLength - written)
        written += bytesWritten
      }
    },
    async end() {
      await handle.sync()
      await handle.close()
    },
    async abort() {
      await handle.close()
      await rm(path, { force: true })
    },
  }
}
