import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { type Digest, digestHex, sha256 } from '../../../registry/digest.ts'
import { BlobCache, type BlobOrigin } from '../../../server/service/blob-cache.ts'
import { tempFolder } from '../../contract/temp-folder.ts'

/** Blobs in memory, with a count of how often each was fetched. */
function origin(...contents: Uint8Array[]) {
  const blobs = new Map(contents.map((bytes) => [sha256(bytes) as string, bytes]))
  const fetched: string[] = []
  const source: BlobOrigin = {
    async openBlob(digest) {
      fetched.push(digest)
      return Readable.from([blobs.get(digest) ?? new Uint8Array()])
    },
    localPath: async () => undefined,
  }
  return { source, fetched }
}

const bytesOf = (fill: number, size = 100) => new Uint8Array(size).fill(fill)
const name = (bytes: Uint8Array) => digestHex(sha256(bytes))

describe('the blob cache', () => {
  test('fetches a blob once and lends the file', async () => {
    const [a] = [bytesOf(1)]
    const { source, fetched } = origin(a)
    const cache = await BlobCache.open(join(await tempFolder(), 'blobs'), 1000, source)
    const leases = await Promise.all([cache.lease(sha256(a), 100), cache.lease(sha256(a), 100)])
    for (const { path, release } of leases) {
      expect(new Uint8Array(await readFile(path))).toEqual(a)
      release()
    }
    expect(fetched).toHaveLength(1)
  })

  test('lends the file of the store where there is one', async () => {
    const { source, fetched } = origin()
    const cache = await BlobCache.open(join(await tempFolder(), 'blobs'), 1000, {
      ...source,
      localPath: async () => '/store/blob',
    })
    expect((await cache.lease(sha256(bytesOf(1)), 100)).path).toBe('/store/blob')
    expect(fetched).toEqual([])
  })

  test('drops the least recently used to stay within its bound', async () => {
    const [a, b, c] = [bytesOf(1), bytesOf(2), bytesOf(3)]
    const dir = join(await tempFolder(), 'blobs')
    const cache = await BlobCache.open(dir, 250, origin(a, b, c).source)
    for (const bytes of [a, b, a, c]) (await cache.lease(sha256(bytes), 100)).release()
    expect((await readdir(dir)).toSorted()).toEqual([name(a), name(c)].toSorted())
  })

  test('never drops a file that is lent', async () => {
    const [a, b, c] = [bytesOf(1), bytesOf(2), bytesOf(3)]
    const dir = join(await tempFolder(), 'blobs')
    const cache = await BlobCache.open(dir, 150, origin(a, b, c).source)
    const lent = await cache.lease(sha256(a), 100)
    for (const bytes of [b, c]) (await cache.lease(sha256(bytes), 100)).release()
    expect(new Uint8Array(await readFile(lent.path))).toEqual(a)
    expect(await readdir(dir)).toHaveLength(2)
  })

  test('refuses bytes of another digest, and keeps nothing of them', async () => {
    const dir = join(await tempFolder(), 'blobs')
    const wrong: BlobOrigin = { ...origin().source, openBlob: async () => Readable.from([bytesOf(9)]) }
    const cache = await BlobCache.open(dir, 1000, wrong)
    await expect(cache.lease(sha256(bytesOf(1)), 100)).rejects.toMatchObject({ code: 'STORED_DAMAGED' })
    expect(await readdir(dir)).toEqual([])
  })

  test('keeps whole files over a restart, and nothing else', async () => {
    const a = bytesOf(1)
    const dir = join(await tempFolder(), 'blobs')
    const first = await BlobCache.open(dir, 1000, origin(a).source)
    ;(await first.lease(sha256(a), 100)).release()
    await writeFile(join(dir, 'tmp-1234'), 'half')
    const { source, fetched } = origin(a)
    const second = await BlobCache.open(dir, 1000, source)
    await second.lease(sha256(a), 100)
    expect(fetched).toEqual([])
    expect(await readdir(dir)).toEqual([name(a)])
  })

  test('goes on for those who wait when the one who fetches gives up', async () => {
    const a = bytesOf(1)
    const started: ((stream: Readable) => void)[] = []
    const slow: BlobOrigin = {
      openBlob: () => new Promise((resolve) => started.push(resolve)),
      localPath: async () => undefined,
    }
    const cache = await BlobCache.open(join(await tempFolder(), 'blobs'), 1000, slow)
    const digest: Digest = sha256(a)
    const abort = new AbortController()
    const first = cache.lease(digest, 100, abort.signal)
    const second = cache.lease(digest, 100)
    await expect.poll(() => started.length).toBe(1)
    abort.abort(new Error('gone'))
    started[0]?.(Readable.from([a]))
    await expect(first).rejects.toThrow()
    await expect.poll(() => started.length).toBe(2)
    started[1]?.(Readable.from([a]))
    expect(new Uint8Array(await readFile((await second).path))).toEqual(a)
  })
})
