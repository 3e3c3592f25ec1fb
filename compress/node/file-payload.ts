/** A container's payload in a file on disk until its table is known: memory stays bounded whatever the expert's size. */
import { type FileHandle, open, rm } from 'node:fs/promises'
import type { PayloadSpool } from '../container-writer.ts'

const READ_BYTES = 2 ** 20

/** Creates `path`, which must not exist yet; `close` removes it. */
export async function filePayload(path: string): Promise<PayloadSpool> {
  const file = await open(path, 'wx+')
  let size = 0
  return {
    async append(bytes) {
      await writeFully(file, bytes, size)
      size += bytes.length
    },
    get size() {
      return size
    },
    read: (start = 0, end = size) => readFrom(file, start, end),
    async close() {
      await file.close()
      await rm(path, { force: true })
    },
  }
}

async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done)
    done += bytesWritten
  }
}

async function* readFrom(file: FileHandle, start: number, end: number): AsyncIterable<Uint8Array> {
  for (let position = start; position < end; ) {
    const buffer = new Uint8Array(Math.min(READ_BYTES, end - position))
    const { bytesRead } = await file.read(buffer, 0, buffer.length, position)
    if (bytesRead === 0) throw new Error('the payload file became shorter while it was read')
    yield buffer.subarray(0, bytesRead)
    position += bytesRead
  }
}
