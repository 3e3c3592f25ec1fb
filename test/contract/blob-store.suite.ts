/** What every blob store must do, whatever it is made of. Each test gets a store of its own, empty. */
import { randomBytes } from 'node:crypto'
import { truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import type { BlobStat, BlobStore } from '../../registry/blob-store.ts'
import { sha256 } from '../../registry/digest.ts'
import { compareUtf8 } from '../../registry/order.ts'
import { tempFolder } from './temp-folder.ts'

const text = (value: string) => new TextEncoder().encode(value)

async function bytesOf(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

async function readText(store: BlobStore, key: string): Promise<string> {
  return (await bytesOf(await store.read(key))).toString('utf8')
}

async function listed(store: BlobStore, prefix: string): Promise<BlobStat[]> {
  const found: BlobStat[] = []
  for await (const stat of store.list(prefix)) found.push(stat)
  return found
}

export function blobStoreSuite(name: string, open: () => Promise<BlobStore>): void {
  describe(`blob store: ${name}`, () => {
    test('gives back the bytes that were written', async () => {
      const store = await open()
      const bytes = randomBytes(100_000)
      await store.write('a/b', bytes)
      expect(await bytesOf(await store.read('a/b'))).toEqual(bytes)
    })

    test('keeps an empty object', async () => {
      const store = await open()
      await store.write('empty', new Uint8Array())
      expect((await store.stat('empty'))?.size).toBe(0)
      expect(await bytesOf(await store.read('empty'))).toHaveLength(0)
    })

    test('says that an absent key is absent, and fails to read it with BLOB_NOT_FOUND', async () => {
      const store = await open()
      expect(await store.stat('a/b')).toBeUndefined()
      await expect(store.read('a/b')).rejects.toMatchObject({ code: 'BLOB_NOT_FOUND' })
      await expect(store.read('a/b', { start: 0, end: 1 })).rejects.toMatchObject({ code: 'BLOB_NOT_FOUND' })
    })

    test('does not take a folder of keys for a key', async () => {
      const store = await open()
      await store.write('a/b', text('x'))
      expect(await store.stat('a')).toBeUndefined()
      await expect(store.read('a')).rejects.toMatchObject({ code: 'BLOB_NOT_FOUND' })
    })

    test('tells key, size, etag and time of an object', async () => {
      const store = await open()
      const before = Date.now()
      const { etag } = await store.write('a/b', text('12345'))
      const stat = await store.stat('a/b')
      expect(stat).toMatchObject({ key: 'a/b', size: 5, etag })
      // S3 keeps whole seconds.
      expect(stat?.modified.getTime()).toBeGreaterThan(before - 2_000)
      expect(stat?.modified.getTime()).toBeLessThan(Date.now() + 2_000)
    })

    test('overwrites without a condition, and the next read sees it', async () => {
      const store = await open()
      for (let i = 0; i < 30; i += 1) {
        await store.write('k', text(`version ${i}`))
        expect(await readText(store, 'k')).toBe(`version ${i}`)
      }
    })

    test('deletes, and takes a missing key for deleted', async () => {
      const store = await open()
      await store.write('a/b', text('x'))
      await store.delete('a/b')
      await store.delete('a/b')
      expect(await store.stat('a/b')).toBeUndefined()
    })

    test.each(['../up', '/root', 'a//b', 'a/', '', '.hidden', 'a/./b', 'a\\b', 'a\u0000b', 'x'.repeat(300)])(
      'refuses the key %j with PATH_INVALID',
      async (key) => {
        const store = await open()
        await expect(store.write(key, text('x'))).rejects.toMatchObject({ code: 'PATH_INVALID' })
        await expect(store.read(key)).rejects.toMatchObject({ code: 'PATH_INVALID' })
      },
    )

    test.each([
      'a b',
      'plus+sign',
      'percent%41',
      'a&b=c',
      "quote'",
      '日本/語',
      'emoji/😀',
      '#hash?',
      `${'s'.repeat(200)}/k`,
    ])('stores, reads, lists and deletes the odd key %j', async (key) => {
      const store = await open()
      await store.write(key, text(key))
      expect(await readText(store, key)).toBe(key)
      expect((await listed(store, '')).map((stat) => stat.key)).toEqual([key])
      await store.delete(key)
      expect(await store.stat(key)).toBeUndefined()
    })

    describe('ranges', () => {
      test.each([
        [0, 10],
        [0, 1],
        [3, 7],
        [9, 10],
      ])('reads bytes %i to %i', async (start, end) => {
        const store = await open()
        await store.write('k', text('0123456789'))
        const bytes = await bytesOf(await store.read('k', { start, end }))
        expect(bytes.toString()).toBe('0123456789'.slice(start, end))
      })

      test.each([
        [10, 11],
        [0, 11],
        [5, 5],
        [7, 3],
        [-1, 3],
        [0.5, 3],
      ])('refuses bytes %d to %d of ten with RANGE_INVALID', async (start, end) => {
        const store = await open()
        await store.write('k', text('0123456789'))
        await expect(store.read('k', { start, end })).rejects.toMatchObject({ code: 'RANGE_INVALID' })
      })

      test('has no range of an empty object', async () => {
        const store = await open()
        await store.write('k', new Uint8Array())
        await expect(store.read('k', { start: 0, end: 1 })).rejects.toMatchObject({ code: 'RANGE_INVALID' })
      })
    })

    describe('an aborted read', () => {
      test('does not begin', async () => {
        const store = await open()
        await store.write('k', text('x'))
        await expect(store.read('k', undefined, AbortSignal.abort())).rejects.toMatchObject({ name: 'AbortError' })
      })

      test('fails in the middle', async () => {
        const store = await open()
        await store.write('k', randomBytes(4_000_000))
        const abort = new AbortController()
        const stream = await store.read('k', undefined, abort.signal)
        const reading = bytesOf(stream)
        abort.abort()
        await expect(reading).rejects.toMatchObject({ name: 'AbortError' })
      })
    })

    describe('conditions', () => {
      test('ifAbsent leaves what is there and says so', async () => {
        const store = await open()
        const first = await store.write('k', text('first'), { ifAbsent: true })
        const second = await store.write('k', text('second'), { ifAbsent: true })
        expect(first.written).toBe(true)
        expect(second).toEqual({ etag: first.etag, written: false })
        expect(await readText(store, 'k')).toBe('first')
      })

      test('ifAbsent works again after a delete', async () => {
        const store = await open()
        await store.write('k', text('first'), { ifAbsent: true })
        await store.delete('k')
        expect((await store.write('k', text('second'), { ifAbsent: true })).written).toBe(true)
      })

      test('ifMatch replaces the version it names', async () => {
        const store = await open()
        const { etag } = await store.write('k', text('first'))
        const second = await store.write('k', text('2nd'), { ifMatch: etag })
        expect(second.written).toBe(true)
        expect((await store.stat('k'))?.etag).toBe(second.etag)
        expect(await readText(store, 'k')).toBe('2nd')
      })

      test('ifMatch refuses a version that is gone, with REF_CONFLICT', async () => {
        const store = await open()
        const { etag } = await store.write('k', text('first'))
        await store.write('k', text('second'))
        const late = store.write('k', text('third'), { ifMatch: etag })
        await expect(late).rejects.toMatchObject({ code: 'REF_CONFLICT' })
        expect(await readText(store, 'k')).toBe('second')
      })

      test('ifMatch refuses a key that is gone, with REF_CONFLICT', async () => {
        const store = await open()
        const { etag } = await store.write('k', text('first'))
        await store.delete('k')
        const late = store.write('k', text('second'), { ifMatch: etag })
        await expect(late).rejects.toMatchObject({ code: 'REF_CONFLICT' })
        expect(await store.stat('k')).toBeUndefined()
      })

      test('the etag of a stat can be used for ifMatch', async () => {
        const store = await open()
        await store.write('k', text('first'))
        const etag = (await store.stat('k'))?.etag ?? ''
        expect((await store.write('k', text('second'), { ifMatch: etag })).written).toBe(true)
      })

      test('every version of a key has an etag of its own, written as fast as can be', async () => {
        const store = await open()
        const etags = new Set<string>()
        for (let i = 0; i < 50; i += 1) etags.add((await store.write('k', text(`${100 + i}`))).etag)
        expect(etags.size).toBe(50)
      })

      // Servers may let writers of one key wait for each other, SeaweedFS by whole seconds.
      test('of 20 writers with ifAbsent exactly one writes', { timeout: 90_000 }, async () => {
        const store = await open()
        const writes = Array.from({ length: 20 }, (_, i) =>
          store.write('race', text(`writer ${i}`), { ifAbsent: true }),
        )
        const results = await Promise.all(writes)
        const winner = results.findIndex((result) => result.written)
        expect(results.filter((result) => result.written)).toHaveLength(1)
        expect(await readText(store, 'race')).toBe(`writer ${winner}`)
      })

      test('of 20 writers with ifMatch exactly one writes', async () => {
        const store = await open()
        let { etag } = await store.write('race', text('start'))
        for (let round = 0; round < 3; round += 1) {
          const writes = Array.from({ length: 20 }, (_, i) =>
            store.write('race', text(`round ${round} writer ${i}`), { ifMatch: etag }),
          )
          const results = await Promise.allSettled(writes)
          const won = results.flatMap((result, i) => (result.status === 'fulfilled' ? [{ i, ...result.value }] : []))
          const lost = results.filter((result) => result.status === 'rejected')
          expect(won).toHaveLength(1)
          for (const result of lost) expect(result.reason).toMatchObject({ code: 'REF_CONFLICT' })
          expect(await readText(store, 'race')).toBe(`round ${round} writer ${won[0]?.i}`)
          etag = won[0]?.etag ?? ''
        }
      })
    })

    describe('listing', () => {
      test('lists 1105 keys in order, across pages', async () => {
        const store = await open()
        const keys = Array.from({ length: 1105 }, (_, i) => `many/${(i * 7919) % 1105}`)
        for (let at = 0; at < keys.length; at += 50) {
          await Promise.all(keys.slice(at, at + 50).map((key) => store.write(key, text(key))))
        }
        const found = (await listed(store, 'many/')).map((stat) => stat.key)
        expect(found).toEqual([...keys].sort(compareUtf8))
      })

      test('lists every key once across pages where one folder name begins another', async () => {
        const store = await open()
        const folders = ['a', 'a-b', 'a.b', 'a0', 'ab']
        const keys = folders.flatMap((folder) => Array.from({ length: 210 }, (_, i) => `many/${folder}/${i}`))
        for (let at = 0; at < keys.length; at += 50) {
          await Promise.all(keys.slice(at, at + 50).map((key) => store.write(key, text(key))))
        }
        const found = (await listed(store, 'many/')).map((stat) => stat.key)
        expect(found.sort(compareUtf8)).toEqual([...keys].sort(compareUtf8))
      })

      test('orders by the bytes of the key, not by UTF-16 units', async () => {
        const store = await open()
        const keys = ['a/z', 'b', 'B', 'é', 'z', '\uffee', '😀']
        for (const key of keys) await store.write(key, text('x'))
        expect((await listed(store, '')).map((stat) => stat.key)).toEqual([...keys].sort(compareUtf8))
      })

      test('takes a prefix that ends within a name', async () => {
        const store = await open()
        for (const key of ['ab/1', 'ac/2', 'b/3', 'a']) await store.write(key, text('x'))
        expect((await listed(store, 'a')).map((stat) => stat.key)).toEqual(['a', 'ab/1', 'ac/2'])
        expect((await listed(store, 'ab')).map((stat) => stat.key)).toEqual(['ab/1'])
      })

      test('gives nothing for a prefix that no key has', async () => {
        const store = await open()
        await store.write('a/b', text('x'))
        expect(await listed(store, 'c/')).toEqual([])
      })

      test('tells the size and the etag of a stat', async () => {
        const store = await open()
        await store.write('a/b', text('12345'))
        const [found] = await listed(store, '')
        expect(found).toMatchObject({ key: 'a/b', size: 5, etag: (await store.stat('a/b'))?.etag })
      })
    })

    describe('a body from a file', () => {
      test('is stored whole, 20 MB in several parts', async () => {
        const store = await open()
        const bytes = randomBytes(20_000_000)
        const path = join(await tempFolder(), 'body')
        await writeFile(path, bytes)
        const body = { path, size: bytes.byteLength, digest: sha256(bytes) }
        expect((await store.write('big', body, { ifAbsent: true })).written).toBe(true)
        expect((await store.write('big', body, { ifAbsent: true })).written).toBe(false)
        expect((await store.stat('big'))?.size).toBe(bytes.byteLength)
        expect(sha256(await bytesOf(await store.read('big')))).toBe(body.digest)
        const range = await bytesOf(await store.read('big', { start: 8_388_600, end: 8_388_620 }))
        expect(range).toEqual(bytes.subarray(8_388_600, 8_388_620))
      })

      test('as large as several parts replaces only the version it was told to', async () => {
        const store = await open()
        const path = join(await tempFolder(), 'body')
        await writeFile(path, randomBytes(9_000_000))
        const { etag } = await store.write('big', text('small'))
        await store.write('big', text('newer'))
        const late = store.write('big', { path, size: 9_000_000 }, { ifMatch: etag })
        await expect(late).rejects.toMatchObject({ code: 'REF_CONFLICT' })
        expect(await readText(store, 'big')).toBe('newer')
      })

      test.each([1_000, 20_000_000])('cut short after it was announced with %i bytes leaves nothing', async (size) => {
        const store = await open()
        const path = join(await tempFolder(), 'body')
        await writeFile(path, randomBytes(size))
        await truncate(path, size - 1)
        await expect(store.write('k', { path, size })).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' })
        expect(await listed(store, '')).toEqual([])
        expect(await store.unfinished(new Date(Date.now() + 60_000), false)).toEqual([])
      })

      test.each([1_000, 20_000_000])('longer than the %i bytes announced leaves nothing', async (size) => {
        const store = await open()
        const path = join(await tempFolder(), 'body')
        await writeFile(path, randomBytes(size + 1))
        await expect(store.write('k', { path, size })).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' })
        expect(await listed(store, '')).toEqual([])
      })

      test.each([1_000, 20_000_000])('of %i bytes with another digest leaves the key as it was', async (size) => {
        const store = await open()
        const path = join(await tempFolder(), 'body')
        await writeFile(path, randomBytes(size))
        await store.write('k', text('before'))
        const body = { path, size, digest: sha256(text('something else')) }
        await expect(store.write('k', body)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' })
        expect(await readText(store, 'k')).toBe('before')
        expect(await store.unfinished(new Date(Date.now() + 60_000), false)).toEqual([])
      })
    })
  })
}
