/** The store check tells stores that keep their promises from those that do not. */
import { describe, expect, test } from 'vitest'
import type { BlobBody, WriteCondition } from '../../../registry/blob-store.ts'
import { MemoryBlobStore } from '../../../registry/blob-store-memory.ts'
import { probeStore } from '../../../registry/probe-store.ts'

const ifAbsent = (condition?: WriteCondition) => condition !== undefined && 'ifAbsent' in condition
const ifMatch = (condition?: WriteCondition) => condition !== undefined && 'ifMatch' in condition

/** A store that forgets some conditions. */
class CarelessStore extends MemoryBlobStore {
  readonly #forgets: (condition?: WriteCondition) => boolean

  constructor(forgets: (condition?: WriteCondition) => boolean) {
    super()
    this.#forgets = forgets
  }

  override write(key: string, body: BlobBody, condition?: WriteCondition) {
    return this.#forgets(condition) ? super.write(key, body) : super.write(key, body, condition)
  }
}

async function keysOf(store: MemoryBlobStore): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list('')) keys.push(key)
  return keys
}

describe('the store check', () => {
  test('passes a store that keeps the contract, and leaves nothing in it', async () => {
    const store = new MemoryBlobStore()
    await expect(probeStore(store)).resolves.toBeUndefined()
    expect(await keysOf(store)).toEqual([])
  })

  test.each([
    ['ifAbsent', ifAbsent],
    ['ifMatch', ifMatch],
    [
      'every etag but made up ones',
      (c?: WriteCondition) => c !== undefined && 'ifMatch' in c && c.ifMatch !== '"another"',
    ],
  ])('finds a store that forgets %s', async (_, forgets) => {
    const store = new CarelessStore(forgets)
    await expect(probeStore(store)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(await keysOf(store)).toEqual([])
  })
})
