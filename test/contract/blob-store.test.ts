/** The blob store contract in memory and in a folder, and what is particular to the folder. */
import { mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openFsStore } from '../../registry/blob-store-fs.ts'
import { MemoryBlobStore } from '../../registry/blob-store-memory.ts'
import { blobStoreSuite } from './blob-store.suite.ts'
import { tempFolder } from './temp-folder.ts'

blobStoreSuite('memory', async () => new MemoryBlobStore())
blobStoreSuite('folder', async () => openFsStore(await tempFolder()))

const bytes = new TextEncoder().encode('bytes')

describe('folder store', () => {
  test('lays out objects as plain files below its folder', async () => {
    const folder = await tempFolder()
    const store = await openFsStore(join(folder, 'data'))
    await store.write('blobs/sha256/ab/cd', bytes)
    expect(await readFile(join(folder, 'data/blobs/sha256/ab/cd'), 'utf8')).toBe('bytes')
    expect(await store.localPath('blobs/sha256/ab/cd')).toBe(join(folder, 'data/blobs/sha256/ab/cd'))
    expect(await store.localPath('blobs/sha256/ab/ce')).toBeUndefined()
  })

  test('leaves no temp file behind', async () => {
    const folder = await tempFolder()
    const store = await openFsStore(folder)
    await store.write('k', bytes, { ifAbsent: true })
    await store.write('k', bytes, { ifAbsent: true })
    await store.write('k', bytes)
    await store.write('k', bytes, { ifMatch: 'wrong' }).catch(() => undefined)
    await store.delete('k')
    expect(await readdir(join(folder, '.tmp'))).toEqual([])
  })

  test('finds and removes temp files that a killed writer left, old ones only', async () => {
    const folder = await tempFolder()
    const store = await openFsStore(folder)
    await writeFile(join(folder, '.tmp/old'), 'half')
    await writeFile(join(folder, '.tmp/new'), 'half')
    await utimes(join(folder, '.tmp/old'), 1, 1)
    const before = new Date(Date.now() - 60_000)
    expect(await store.unfinished(before, false)).toEqual(['.tmp/old'])
    expect(await readdir(join(folder, '.tmp'))).toEqual(['new', 'old'])
    await store.unfinished(before, true)
    expect(await readdir(join(folder, '.tmp'))).toEqual(['new'])
  })

  test('does not list what no key can name', async () => {
    const folder = await tempFolder()
    const store = await openFsStore(folder)
    await mkdir(join(folder, '.snapshot'))
    await writeFile(join(folder, '.snapshot/x'), 'x')
    await writeFile(join(folder, '.tmp/y'), 'y')
    const found = []
    for await (const stat of store.list('')) found.push(stat.key)
    expect(found).toEqual([])
  })

  test('takes over the lock of a process that was killed while it replaced a key', async () => {
    const folder = await tempFolder()
    const store = await openFsStore(folder)
    const lock = await lockNameOf(folder, 'k')
    // A process id beyond the system's largest belongs to nobody.
    await writeFile(join(folder, '.tmp', lock), `99999999 ${hostname()}`)
    await store.write('k', bytes)
    expect((await store.stat('k'))?.size).toBe(5)
    expect(await readdir(join(folder, '.tmp'))).toEqual([])
  })

  test('takes over an old lock of another machine', async () => {
    const folder = await tempFolder()
    const store = await openFsStore(folder)
    const lock = await lockNameOf(folder, 'k')
    await writeFile(join(folder, '.tmp', lock), '1 elsewhere')
    await utimes(join(folder, '.tmp', lock), 1, 1)
    await store.write('k', bytes)
    expect((await store.stat('k'))?.size).toBe(5)
  })

  test('two stores on one folder do not overwrite each other', async () => {
    const folder = await tempFolder()
    const stores = [await openFsStore(folder), await openFsStore(folder)]
    const { etag } = (await stores[0]?.write('k', bytes)) ?? { etag: '' }
    const writes = Array.from({ length: 20 }, (_, i) => stores[i % 2]?.write('k', bytes, { ifMatch: etag }))
    const results = await Promise.allSettled(writes)
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1)
  })

  test('says STORE_UNAVAILABLE when its folder cannot be made', async () => {
    const folder = await tempFolder()
    await writeFile(join(folder, 'file'), 'x')
    await expect(openFsStore(join(folder, 'file/data'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })
})

/** The lock of a key is seen while the key is being replaced: watch one replace to learn its name. */
async function lockNameOf(folder: string, key: string): Promise<string> {
  const { createHash } = await import('node:crypto')
  await readdir(folder)
  return `${createHash('sha256').update(key).digest('hex').slice(0, 32)}.lock`
}
