/** The document of a repo's refs: its bytes and the compare-and-swap. */
import { describe, expect, test } from 'vitest'
import { MemoryBlobStore } from '../../../registry/blob-store-memory.ts'
import { sha256 } from '../../../registry/digest.ts'
import { repoKey } from '../../../registry/keys.ts'
import {
  encodeRepoDocument,
  nextVersion,
  parseRepoDocument,
  type RepoDocument,
  readRepo,
  updateRepo,
} from '../../../registry/repo-document.ts'

const entry = { digest: sha256(new Uint8Array()), updated: new Date('2030-01-02T03:04:05.678Z') }
const document: RepoDocument = {
  repo: 'ns/one',
  type: 'expert',
  version: 1_900_000_000_000,
  created: new Date('2030-01-01T00:00:00.000Z'),
  branches: new Map([['main', entry]]),
  tags: new Map([['v1.0', entry]]),
}
const text = () => new TextDecoder().decode(encodeRepoDocument(document))
const parse = (value: string) => parseRepoDocument(new TextEncoder().encode(value))

describe('a repo document', () => {
  test('is read back as it was written', () => {
    expect(parse(text())).toEqual(document)
  })

  test('is JSON that a person can read', () => {
    expect(JSON.parse(text())).toEqual({
      schema: 1,
      repo: 'ns/one',
      type: 'expert',
      version: 1_900_000_000_000,
      created_at: '2030-01-01T00:00:00.000Z',
      branches: { main: { digest: entry.digest, updated_at: '2030-01-02T03:04:05.678Z' } },
      tags: { 'v1.0': { digest: entry.digest, updated_at: '2030-01-02T03:04:05.678Z' } },
    })
  })

  test.each([
    ['half of it', (t: string) => t.slice(0, 40)],
    ['another schema', (t: string) => t.replace('"schema":1', '"schema":2')],
    ['no branch', (t: string) => t.replace(/"branches":\{.*?\}\}/, '"branches":{}')],
    ['a branch without a digest', (t: string) => t.replace('"digest"', '"digset"')],
    ['a time that is none', (t: string) => t.replace('2030-01-01T', 'yesterday')],
    ['a type that is none', (t: string) => t.replace('"expert"', '"dataset"')],
    ['a version that is none', (t: string) => t.replace('1900000000000', '"1"')],
  ])('with %s is MANIFEST_INVALID', (_, damage) => {
    expect(damage(text())).not.toBe(text())
    expect(() => parse(damage(text()))).toThrow(expect.objectContaining({ code: 'MANIFEST_INVALID' }))
  })

  test('with too many refs is LIMIT_EXCEEDED', () => {
    const tags = new Map(Array.from({ length: 2_000 }, (_, i) => [`t${i}`, entry]))
    const write = () => encodeRepoDocument({ ...document, tags })
    expect(write).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }))
  })

  test('gets a later version with every change, also when the clock stands still or goes back', () => {
    expect(nextVersion(document)).toBe(document.version + 1)
    expect(nextVersion(undefined)).toBeGreaterThan(1_700_000_000_000)
  })

  test('larger than the bound is not read', async () => {
    const store = new MemoryBlobStore()
    await store.write(repoKey('ns/one'), new Uint8Array(2_000_000))
    await expect(readRepo(store, 'ns/one')).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
  })
})

describe('a change', () => {
  test('is computed again from what someone else wrote in between', async () => {
    const store = new MemoryBlobStore()
    await store.write(repoKey('ns/one'), encodeRepoDocument(document))
    const seen: number[] = []
    const result = await updateRepo(store, 'ns/one', async (present) => {
      if (present === undefined) return undefined
      seen.push(present.version)
      const other = { ...present, version: present.version + 1 }
      if (seen.length === 1) await store.write(repoKey('ns/one'), encodeRepoDocument(other))
      return { ...present, version: nextVersion(present) }
    })
    expect(seen).toEqual([document.version, document.version + 1])
    expect(result?.version).toBe(document.version + 2)
  })

  test('that leaves the document as it is writes nothing', async () => {
    const store = new MemoryBlobStore()
    await store.write(repoKey('ns/one'), encodeRepoDocument(document))
    const before = await store.stat(repoKey('ns/one'))
    expect(await updateRepo(store, 'ns/one', async () => undefined)).toEqual(document)
    expect(await store.stat(repoKey('ns/one'))).toEqual(before)
  })
})
