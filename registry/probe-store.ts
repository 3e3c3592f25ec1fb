/**
 * Asks a store to prove what the registry stands on: conditional writes. Some servers that speak S3 ignore the
 * conditions, or honour them only when nobody else is writing; there, two publishes would overwrite each other.
 */
import { randomUUID } from 'node:crypto'
import type { BlobStore, WriteCondition } from './blob-store.ts'
import { RegistryError } from './errors.ts'
import { PROBE } from './keys.ts'
import { readObject } from './read-object.ts'

const WRITERS = 4
const MAX_PROBE_BYTES = 1024

/** Throws STORE_UNAVAILABLE, saying which promise was broken. Leaves nothing behind. */
export async function probeStore(store: BlobStore): Promise<void> {
  const key = PROBE + randomUUID()
  try {
    const { etag } = await store.write(key, text('first'), { ifAbsent: true })
    if (await writes(store, key, 'second', { ifAbsent: true })) throw broken('it overwrote a key that was to be new')
    if (await writes(store, key, 'third', { ifMatch: '"another"' })) throw broken('it ignored the etag of a write')
    const race = Array.from({ length: WRITERS }, (_, i) => writes(store, key, `writer ${i}`, { ifMatch: etag }))
    const winners = (await Promise.all(race)).flatMap((won, i) => (won ? [i] : []))
    if (winners.length !== 1) throw broken(`${winners.length} of ${WRITERS} writers with one etag won, not one`)
    const bytes = await readObject(store, key, MAX_PROBE_BYTES)
    const found = bytes === undefined ? 'nothing' : new TextDecoder().decode(bytes)
    if (found !== `writer ${winners[0]}`)
      throw broken(`it gave back "${found}" after "writer ${winners[0]}" was written`)
  } finally {
    await store.delete(key).catch(() => undefined)
  }
}

async function writes(store: BlobStore, key: string, value: string, condition: WriteCondition): Promise<boolean> {
  try {
    return (await store.write(key, text(value), condition)).written
  } catch (error) {
    if (error instanceof RegistryError && error.code === 'REF_CONFLICT') return false
    throw error
  }
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value)
}

function broken(how: string): RegistryError {
  return new RegistryError('STORE_UNAVAILABLE', `the store cannot hold a registry: ${how}`, { how })
}
