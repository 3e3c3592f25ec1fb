/** Garbage collection, reindex, verify and recovery, whatever store and index the registry stands on. */
import { describe, expect, test } from 'vitest'
import type { BlobStore } from '../../registry/blob-store.ts'
import type { Digest } from '../../registry/digest.ts'
import { collectGarbage } from '../../registry/gc.ts'
import type { RegistryIndex } from '../../registry/index.ts'
import { SqliteIndex } from '../../registry/index-sqlite.ts'
import { BLOBS, blobKey, manifestKey, repoKey } from '../../registry/keys.ts'
import { openIndex } from '../../registry/open-index.ts'
import { Registry } from '../../registry/registry.ts'
import { reindex } from '../../registry/reindex.ts'
import { encodeRepoDocument, readRepo } from '../../registry/repo-document.ts'
import { verifyRegistry } from '../../registry/verify.ts'
import { keysOf, NOW, type Parts, request, textFile } from './registry-parts.ts'

/** Everything that readers can see of a registry, to compare before and after. */
async function viewOf(registry: Registry) {
  const { repos } = await registry.listRepos({ limit: 100 })
  const details = await Promise.all(repos.map(({ repo }) => registry.repo(repo)))
  return { repos, details }
}

export function registryUpkeepSuite(name: string, open: () => Promise<Parts>): void {
  async function openRegistry() {
    const parts = await open()
    return { parts, registry: new Registry(parts) }
  }

  describe(`upkeep of a registry on ${name}`, () => {
    describe('garbage collection', () => {
      test('of a registry where everything is reachable deletes nothing', async () => {
        const { parts, registry } = await openRegistry()
        await registry.publish(request('ns/one', 'v1', { tags: ['old'] }))
        await registry.publish(request('ns/one', 'v2'))
        const before = await keysOf(parts.store)
        const report = await collectGarbage(parts, { ...NOW, dryRun: false })
        expect(report).toMatchObject({ blobs: { count: 0 }, manifests: { count: 0 }, keys: [], intents: 0 })
        expect(report.kept.count).toBe(5)
        expect(await keysOf(parts.store)).toEqual(before)
      })

      test('tells what it would delete before it does', async () => {
        const { parts, registry } = await openRegistry()
        const gone = await registry.publish(request('ns/gone', 'v1'))
        const kept = await registry.publish(request('ns/kept', 'v1'))
        await registry.deleteRepo('ns/gone')
        const before = await keysOf(parts.store)
        const dry = await collectGarbage(parts, NOW)
        expect(dry.dryRun).toBe(true)
        expect(dry.keys.toSorted()).toEqual(
          [blobKey(textFile('README.md', 'about ns/gone').digest), manifestKey(gone.digest)].toSorted(),
        )
        expect(await keysOf(parts.store)).toEqual(before)
        const real = await collectGarbage(parts, { ...NOW, dryRun: false })
        expect(real).toEqual({ ...dry, dryRun: false })
        expect(await keysOf(parts.store)).toEqual(before.filter((key) => !dry.keys.includes(key)))
        expect((await registry.resolve('ns/kept')).digest).toBe(kept.digest)
        expect((await verifyRegistry(parts)).problems).toEqual([])
      })

      test('leaves what is younger than the grace period', async () => {
        const { parts, registry } = await openRegistry()
        await registry.publish(request('ns/gone', 'v1'))
        await registry.deleteRepo('ns/gone')
        const report = await collectGarbage(parts, { dryRun: false })
        expect(report.keys).toEqual([])
        expect(report.spared.count).toBe(3)
      })

      test('takes the history of a deleted tag that nothing else reaches', async () => {
        const { parts, registry } = await openRegistry()
        await registry.publish(request('ns/one', 'v1'))
        await registry.publish(request('ns/one', 'w1', { branch: 'side', tags: ['t'] }))
        await registry.deleteTag('ns/one', 't')
        expect((await collectGarbage(parts, { ...NOW, dryRun: false })).keys).toEqual([])
      })

      test('at every step of a publish, without grace, takes nothing from it', async () => {
        const { parts, registry } = await openRegistry()
        // The blobs and the manifest of the publish lie about unreachable: the worst case.
        await registry.publish(request('ns/one', 'v1'))
        await registry.deleteRepo('ns/one')
        const steps: string[] = []
        let running: Promise<unknown> = Promise.resolve()
        const watched = new Registry({
          ...parts,
          onStep: (step) => {
            steps.push(step)
            if (step !== 'before intent') running = running.then(() => collectGarbage(parts, { ...NOW, dryRun: false }))
          },
        })
        const published = await watched.publish(request('ns/one', 'v1'))
        await running
        expect(steps).toContain('after ref')
        expect((await verifyRegistry(parts)).problems).toEqual([])
        expect((await watched.resolve('ns/one')).digest).toBe(published.digest)
      })

      test('keeps what a publish made reachable between the mark and the sweep', async () => {
        const { parts, registry } = await openRegistry()
        const first = await registry.publish(request('ns/one', 'v1'))
        await registry.deleteRepo('ns/one')
        // The sweep begins with a listing of the blobs: publish the same again right before it.
        const list = async function* (prefix: string) {
          if (prefix === BLOBS) expect((await registry.publish(request('ns/one', 'v1'))).digest).toBe(first.digest)
          yield* parts.store.list(prefix)
        }
        const store: BlobStore = { ...boundTo(parts.store), list }
        const report = await collectGarbage({ ...parts, store }, { ...NOW, dryRun: false })
        expect(report.keys).toEqual([])
        expect(report.spared.count).toBe(3)
        expect((await verifyRegistry(parts)).problems).toEqual([])
      })

      test('refuses to delete anything while a manifest that a ref reaches is missing', async () => {
        const { parts, registry } = await openRegistry()
        await registry.publish(request('ns/gone', 'v1'))
        await registry.deleteRepo('ns/gone')
        const { digest } = await registry.publish(request('ns/one', 'v1'))
        await parts.store.delete(manifestKey(digest))
        const before = await keysOf(parts.store)
        const collected = collectGarbage(parts, { ...NOW, dryRun: false })
        await expect(collected).rejects.toMatchObject({ code: 'MANIFEST_INVALID' })
        expect(await keysOf(parts.store)).toEqual(before)
      })

      test('settles and drops the intents of publishes that died more than a day ago', async () => {
        const { parts, registry } = await openRegistry()
        const { digest } = await registry.publish(request('ns/one', 'v1'))
        await parts.index.removeRepo('ns/one', Number.MAX_SAFE_INTEGER)
        const intent = { owner: 'dead', repo: 'ns/one', digests: [digest] }
        const hours = (count: number) => new Date(Date.now() - count * 3_600_000)
        await parts.index.putIntent({ ...intent, id: 'old', started: hours(25) })
        await parts.index.putIntent({ ...intent, id: 'new', started: hours(23) })
        expect((await collectGarbage(parts, NOW)).intents).toBe(1)
        expect(await parts.index.listIntents()).toHaveLength(2)
        expect((await collectGarbage(parts, { ...NOW, dryRun: false })).intents).toBe(1)
        expect((await parts.index.listIntents()).map(({ id }) => id)).toEqual(['new'])
        expect(await parts.index.findRepo('ns/one')).toMatchObject({ refs: [{ name: 'main', digest }] })
      })

      test('leaves objects whose keys it does not know', async () => {
        const { parts } = await openRegistry()
        await parts.store.write('blobs/notes.txt', new Uint8Array(1))
        await collectGarbage(parts, { ...NOW, dryRun: false })
        expect(await keysOf(parts.store)).toEqual(['blobs/notes.txt'])
      })
    })

    describe('reindex', () => {
      test('gives an empty index what the index had', async () => {
        const { parts, registry } = await openRegistry()
        const first = await registry.publish(request('ns/one', 'v1', { tags: ['t'] }))
        await registry.publish(request('ns/one', 'v2'))
        await registry.publish(request('ns/one', 'w1', { branch: 'side' }))
        await registry.publish(request('Ns2/base', 'b', { type: 'base' }))
        const index = await openIndex('sqlite::memory:')
        const report = await reindex({ ...parts, index })
        expect(report).toEqual({ repos: 2, revisions: 4, removed: [], problems: [] })
        const rebuilt = new Registry({ ...parts, index })
        const byDigest = (view: Awaited<ReturnType<typeof viewOf>>) =>
          view.details.map((detail) => ({
            ...detail,
            revisions: detail.revisions.toSorted((a, b) => (a.digest < b.digest ? -1 : 1)),
          }))
        expect((await viewOf(rebuilt)).repos).toEqual((await viewOf(registry)).repos)
        expect(byDigest(await viewOf(rebuilt))).toEqual(byDigest(await viewOf(registry)))
        expect(await rebuilt.resolve('ns/one', 't')).toEqual({ ...first, ref: 't' })
      })

      test('forgets what the bucket does not have, and goes back where the bucket did', async () => {
        const { parts, registry } = await openRegistry()
        const first = await registry.publish(request('ns/one', 'v1'))
        const document = (await readRepo(parts.store, 'ns/one'))?.document
        if (document === undefined) throw new Error('no document')
        await registry.publish(request('ns/one', 'v2'))
        await registry.publish(request('ns/gone', 'v1'))
        // A backup of the bucket is put back.
        await parts.store.write(repoKey('ns/one'), encodeRepoDocument(document))
        await parts.store.delete(repoKey('ns/gone'))
        expect((await verifyRegistry(parts)).problems.map((problem) => problem.kind)).toEqual([
          'index_differs',
          'index_differs',
        ])
        const report = await reindex(parts)
        expect(report.removed).toEqual(['ns/gone'])
        expect((await registry.resolve('ns/one')).digest).toBe(first.digest)
        expect((await registry.repo('ns/one')).revisions).toHaveLength(1)
        expect((await verifyRegistry(parts)).problems).toEqual([])
      })

      test('lists what it cannot read and indexes the rest', async () => {
        const { parts, registry } = await openRegistry()
        await registry.publish(request('ns/one', 'v1'))
        await registry.publish(request('ns/two', 'v1'))
        await parts.store.write(repoKey('ns/two'), new TextEncoder().encode('{"schema":1'))
        const report = await reindex({ ...parts, index: await openIndex('sqlite::memory:') })
        expect(report.repos).toBe(1)
        expect(report.problems).toMatchObject([{ where: 'repos/ns/two.json' }])
      })
    })

    describe('verify', () => {
      async function damaged(damage: (parts: Parts, digests: { blob: Digest; manifest: Digest }) => Promise<unknown>) {
        const { parts, registry } = await openRegistry()
        await registry.publish(request('ns/whole', 'fine'))
        const { digest, manifest } = await registry.publish(request('ns/one', 'v1'))
        const blob = manifest.files[1]?.digest
        if (blob === undefined) throw new Error('no blob')
        await damage(parts, { blob, manifest: digest })
        return { digest, blob, revision: digest.slice(7, 47), report: await verifyRegistry(parts) }
      }
      const text = (value: string) => new TextEncoder().encode(value)

      test('finds nothing wrong with a registry that is whole', async () => {
        const { parts, registry } = await openRegistry()
        await registry.publish(request('ns/one', 'v1', { tags: ['t'] }))
        await registry.publish(request('ns/one', 'v2'))
        const bytes = 'about ns/one'.length + 4
        expect(await verifyRegistry(parts)).toEqual({ repos: 1, revisions: 2, blobs: 3, bytes, problems: [] })
      })

      test('names the file whose bytes were changed', async () => {
        const { report, blob, revision } = await damaged(({ store }, { blob: key }) =>
          store.write(blobKey(key), text('vX')),
        )
        expect(report.problems).toMatchObject([
          { kind: 'blob_damaged', repo: 'ns/one', revision, path: 'expert.tern', digest: blob },
        ])
      })

      test('names the file that was cut short', async () => {
        const { report, blob } = await damaged(({ store }, { blob: key }) => store.write(blobKey(key), text('v')))
        expect(report.problems).toMatchObject([
          { kind: 'blob_size', repo: 'ns/one', path: 'expert.tern', digest: blob },
        ])
      })

      test('names the file that is gone', async () => {
        const { report, blob } = await damaged(({ store }, { blob: key }) => store.delete(blobKey(key)))
        expect(report.problems).toMatchObject([
          { kind: 'blob_missing', repo: 'ns/one', path: 'expert.tern', digest: blob },
        ])
      })

      test('names the manifest that is gone', async () => {
        const { report, digest } = await damaged(({ store }, { manifest }) => store.delete(manifestKey(manifest)))
        expect(report.problems).toMatchObject([{ kind: 'manifest_missing', repo: 'ns/one', digest }])
      })

      test('names the manifest that was changed', async () => {
        const { report, digest } = await damaged(({ store }, { manifest }) =>
          store.write(manifestKey(manifest), text('{}')),
        )
        expect(report.problems).toMatchObject([{ kind: 'manifest_invalid', repo: 'ns/one', digest }])
      })

      test('names the document that cannot be read', async () => {
        const { report } = await damaged(({ store }) => store.write(repoKey('ns/one'), text('{}')))
        expect(report.problems).toMatchObject([{ kind: 'document_invalid' }])
        expect(report.problems[0]?.message).toContain('repos/ns/one.json')
      })

      test('names the repo that the index does not have', async () => {
        const { report } = await damaged(({ index }) =>
          Promise.resolve(index.removeRepo('ns/one', Number.MAX_SAFE_INTEGER)),
        )
        expect(report.problems).toMatchObject([{ kind: 'index_differs', repo: 'ns/one' }])
      })

      test('finds nothing wrong any more once a damaged file was deleted and the same published again', async () => {
        const { parts, registry } = await openRegistry()
        const first = await registry.publish(request('ns/one', 'v1'))
        const key = blobKey(first.manifest.files[1]?.digest ?? 'sha256:')
        await parts.store.write(key, text('vX'))
        await parts.store.delete(key)
        expect((await registry.publish(request('ns/one', 'v1'))).digest).toBe(first.digest)
        expect((await verifyRegistry(parts)).problems).toEqual([])
      })

      test('goes on after the first problem', async () => {
        const { report } = await damaged(async ({ store }, { blob, manifest }) => {
          await store.delete(blobKey(blob))
          await store.write(blobKey(textFile('README.md', 'about ns/whole').digest), text('about ns/whalE'))
          await store.write(repoKey('ns/three'), text('nonsense'))
          expect(manifest).toBeDefined()
        })
        expect(report.problems.map((problem) => problem.kind).toSorted()).toEqual([
          'blob_damaged',
          'blob_missing',
          'document_invalid',
        ])
      })

      test('can be told to look at sizes only', async () => {
        const { parts, registry } = await openRegistry()
        const { manifest } = await registry.publish(request('ns/one', 'v1'))
        await parts.store.write(blobKey(manifest.files[1]?.digest ?? 'sha256:'), text('vX'))
        expect((await verifyRegistry(parts, { hash: false })).problems).toEqual([])
        expect((await verifyRegistry(parts)).problems).toHaveLength(1)
      })
    })

    describe('an index that lags behind the bucket', () => {
      test('is caught up by the first read of a repo it does not know', async () => {
        const { parts, registry } = await openRegistry()
        const published = await registry.publish(request('ns/one', 'v1', { tags: ['t'] }))
        await parts.index.removeRepo('ns/one', Number.MAX_SAFE_INTEGER)
        expect(await registry.resolve('ns/one', 't')).toEqual({ ...published, ref: 't' })
        expect((await registry.listRepos()).repos).toHaveLength(1)
      })

      test('is caught up by the first read after a publish whose last step failed', async () => {
        const { parts, registry } = await openRegistry()
        await registry.publish(request('ns/one', 'v1'))
        const failing = new Registry({ ...parts, index: failingIndex(parts.index, 2) })
        await expect(failing.publish(request('ns/one', 'v2'))).rejects.toThrow('the disk is full')
        expect(await parts.index.listIntents()).toHaveLength(1)
        const head = await failing.resolve('ns/one')
        expect(head.manifest.files[1]?.digest).toBe(textFile('expert.tern', 'v2').digest)
        expect(await parts.index.listIntents()).toEqual([])
        expect((await verifyRegistry(parts)).problems).toEqual([])
      })

      test('is caught up when the server starts', async () => {
        const { parts, registry } = await openRegistry()
        await registry.publish(request('ns/one', 'v1'))
        const failing = new Registry({ ...parts, index: failingIndex(parts.index, 2) })
        await expect(failing.publish(request('ns/one', 'v2'))).rejects.toThrow('the disk is full')
        const restarted = new Registry(parts)
        expect((await restarted.resolve('ns/one')).manifest.files[1]?.digest).toBe(textFile('expert.tern', 'v1').digest)
        expect(await restarted.replayIntents()).toBe(1)
        expect((await restarted.resolve('ns/one')).manifest.files[1]?.digest).toBe(textFile('expert.tern', 'v2').digest)
        expect(await restarted.replayIntents()).toBe(0)
      })
    })
  })
}

/** The store's methods as plain functions, to build another store from. */
function boundTo(store: BlobStore): Omit<BlobStore, 'list'> {
  return {
    stat: (key) => store.stat(key),
    read: (key, range, signal) => store.read(key, range, signal),
    write: (key, body, condition) => store.write(key, body, condition),
    delete: (key) => store.delete(key),
    signedUrl: (key, ttl, fileName) => store.signedUrl(key, ttl, fileName),
    unfinished: (before, remove) => store.unfinished(before, remove),
  }
}

/** The index with a disk that is full for the next `times` changes of a repo. */
function failingIndex(index: RegistryIndex, times: number): RegistryIndex {
  if (!(index instanceof SqliteIndex)) throw new Error('made for the SQLite index')
  let left = times
  return new Proxy(index, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (property === 'putRepo' && left > 0) {
          left -= 1
          throw new Error('the disk is full')
        }
        return Reflect.apply(value, target, args) as unknown
      }
    },
  })
}
