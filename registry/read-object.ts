/** Small objects whole: with a bound, since their size is the store's word until they are read. */
import type { BlobStore, ByteRange } from './blob-store.ts'
import { RegistryError } from './errors.ts'

/** The object's bytes, undefined when absent. Throws LIMIT_EXCEEDED above `limit` bytes. */
export async function readObject(store: BlobStore, key: string, limit: number): Promise<Uint8Array | undefined> {
  try {
    return await collect(store, key, undefined, limit)
  } catch (error) {
    if (error instanceof RegistryError && error.code === 'BLOB_NOT_FOUND') return undefined
    throw error
  }
}

/** Exactly the bytes of the range. */
export async function readRange(
  store: BlobStore,
  key: string,
  range: ByteRange,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  return collect(store, key, range, range.end - range.start, signal)
}

async function collect(
  store: BlobStore,
  key: string,
  range: ByteRange | undefined,
  limit: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of (await store.read(key, range, signal)) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    if (size > limit) throw new RegistryError('LIMIT_EXCEEDED', `${key} is larger than ${limit} bytes`, { key, limit })
    chunks.push(chunk)
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)
}
