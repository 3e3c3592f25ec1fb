/** Reads the file of a write while checking that it is what was announced: nothing cut short is ever stored. */
import { createReadStream } from 'node:fs'
import type { BlobBody, FileBody } from './blob-store.ts'
import { DigestHasher } from './digest.ts'
import { RegistryError } from './errors.ts'

/** Larger reads than Node's 64 KiB: the read size is what bounds the copy. */
const READ_BYTES = 1024 * 1024

/** The file's bytes; throws DIGEST_MISMATCH before it ends when size or digest is not the announced one. */
export async function* checkedFile(body: FileBody): AsyncGenerator<Uint8Array> {
  const hasher = body.digest === undefined ? undefined : new DigestHasher()
  let size = 0
  for await (const chunk of createReadStream(body.path, { highWaterMark: READ_BYTES }) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    if (size > body.size) break
    hasher?.update(chunk)
    yield chunk
  }
  if (size !== body.size) {
    const found = size > body.size ? 'more' : `${size}`
    throw new RegistryError('DIGEST_MISMATCH', `the file was announced with ${body.size} bytes, found ${found}`, {
      announced: body.size,
    })
  }
  const digest = hasher?.digest()
  if (digest !== body.digest) {
    const detail = { announced: body.digest, found: digest }
    throw new RegistryError('DIGEST_MISMATCH', `the file was announced as ${body.digest}, found ${digest}`, detail)
  }
}

/** The whole body in memory: for small ones, and for the memory store. */
export async function bodyBytes(body: BlobBody): Promise<Uint8Array> {
  if (body instanceof Uint8Array) return body
  const chunks: Uint8Array[] = []
  for await (const chunk of checkedFile(body)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

export function bodySize(body: BlobBody): number {
  return body instanceof Uint8Array ? body.byteLength : body.size
}
