/** What the registry does, whatever store and index it stands on. Each test gets its own, empty. */
import { writeFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { type Digest, sha256 } from '../../registry/digest.ts'
import type { PublishRequest } from '../../registry/publish.ts'
import { Registry } from '../../registry/registry.ts'
import { verifyRegistry } from '../../registry/verify.ts'
import { keysOf, type Parts, request, textFile, textOf } from './registry-parts.ts'
import { tempFolder } from './temp-folder.ts'

export function registrySuite(name: string, open: () => Promise<Parts>): void {
  async function openRegistry() {
    const parts = await open()
    return { parts, registry: new Registry(parts) }
  }

  describe(`registry on ${name}`, () => {
    describe('publish and resolve', () => {
      test('a published revision can be resolved by branch, tag, revision, digest and HEAD', async () => {
        const { registry } = await openRegistry()
        const published = await registry.publish(request('ns/one', 'v1', { tags: ['v1.0'] }))
        expect(published.revision).toMatch(/^[0-9a-f]{40}$/)
        expect(published.digest).toBe(`sha256:${published.digest.slice(7)}`)
        expect(published.revision).toBe(published.digest.slice(7, 47))
        for (const ref of [undefined, 'main', 'v1.0', 'HEAD', published.revision, published.digest]) {
          const found = await registry.resolve('ns/one', ref)
          expect(found).toEqual({ ...published, ref: ref ?? 'main' })
        }
      })

      test('the manifest lists stored and derived files by path, and the annotations', async () => {
        const { registry } = await openRegistry()
        const { manifest } = await registry.publish(
          request('ns/one', 'v1', { annotations: { kind: 'ia3', n: [1, null] } }),
        )
        expect(manifest.files.map((file) => file.path)).toEqual(['README.md', 'expert.tern'])
        expect(manifest.derived.map((file) => file.path)).toEqual(['adapter_model.safetensors'])
        expect(manifest).toMatchObject({
          repo: 'ns/one',
          type: 'expert',
          parent: null,
          annotations: { kind: 'ia3', n: [1, null] },
        })
      })

      test('stored bytes come back whole, in ranges and as random access', async () => {
        const { registry } = await openRegistry()
        const { manifest } = await registry.publish(request('ns/one', '0123456789'))
        const file = manifest.files[1]
        if (file === undefined) throw new Error('no file')
        expect(await textOf(registry, file.digest)).toBe('0123456789')
        const source = registry.blobSource(file.digest, file.size)
        expect(source.size).toBe(10)
        expect(Buffer.from(await source.read(3, 6)).toString()).toBe('345')
        expect(await source.read(4, 4)).toHaveLength(0)
        await expect(source.read(8, 11)).rejects.toMatchObject({ code: 'RANGE_INVALID' })
      })

      test('a second revision has the first as its parent, and both stay', async () => {
        const { registry } = await openRegistry()
        const first = await registry.publish(request('ns/one', 'v1'))
        const second = await registry.publish(request('ns/one', 'v2'))
        expect(second.manifest.parent).toBe(first.digest)
        expect((await registry.resolve('ns/one')).digest).toBe(second.digest)
        expect((await registry.resolve('ns/one', first.revision)).digest).toBe(first.digest)
        const { revisions } = await registry.repo('ns/one')
        expect(revisions.map((revision) => revision.digest)).toEqual([second.digest, first.digest])
      })

      test('publishing what the head holds already answers the head', async () => {
        const { registry } = await openRegistry()
        const first = await registry.publish(request('ns/one', 'v1'))
        const second = await registry.publish(request('ns/one', 'v2'))
        const again = await registry.publish(request('ns/one', 'v2'))
        expect(again).toEqual(second)
        expect(again.digest).not.toBe(first.digest)
        expect((await registry.repo('ns/one')).revisions).toHaveLength(2)
      })

      test('going back to older content is a new revision', async () => {
        const { registry } = await openRegistry()
        const first = await registry.publish(request('ns/one', 'v1'))
        await registry.publish(request('ns/one', 'v2'))
        const third = await registry.publish(request('ns/one', 'v1'))
        expect(third.digest).not.toBe(first.digest)
        expect((await registry.repo('ns/one')).revisions).toHaveLength(3)
      })

      test('another annotation is another revision', async () => {
        const { registry } = await openRegistry()
        const first = await registry.publish(request('ns/one', 'v1'))
        const second = await registry.publish(request('ns/one', 'v1', { annotations: { kind: 'lora', density: 0.1 } }))
        expect(second.digest).not.toBe(first.digest)
      })

      test('branches have histories of their own', async () => {
        const { registry } = await openRegistry()
        await registry.publish(request('ns/one', 'v1'))
        const other = await registry.publish(request('ns/one', 'w1', { branch: 'try/this' }))
        expect(other).toMatchObject({ ref: 'try/this', manifest: { parent: null } })
        expect((await registry.resolve('ns/one', 'try/this')).digest).toBe(other.digest)
        expect((await registry.resolve('ns/one')).digest).not.toBe(other.digest)
      })

      test('files given as paths are stored as those given as bytes', async () => {
        const { registry } = await openRegistry()
        const file = textFile('expert.tern', 'from a file')
        const path = `${await tempFolder()}/body`
        await writeFile(path, 'from a file')
        const files = [{ ...file, body: { path, size: file.size } }]
        await registry.publish(request('ns/one', '', { files }))
        expect(await textOf(registry, file.digest)).toBe('from a file')
      })
    })

    describe('what is not there', () => {
      test('an unknown repo is REPO_NOT_FOUND', async () => {
        const { registry } = await openRegistry()
        await expect(registry.resolve('ns/none')).rejects.toMatchObject({ code: 'REPO_NOT_FOUND' })
        await expect(registry.repo('ns/none')).rejects.toMatchObject({ code: 'REPO_NOT_FOUND' })
        await expect(registry.deleteRepo('ns/none')).rejects.toMatchObject({ code: 'REPO_NOT_FOUND' })
        await expect(registry.setTag('ns/none', 'v1', 'main')).rejects.toMatchObject({ code: 'REPO_NOT_FOUND' })
      })

      test.each(['nope', '0'.repeat(40), `sha256:${'0'.repeat(64)}`, '', 'refs/heads/main'])(
        'the ref %j of a known repo is REVISION_NOT_FOUND',
        async (ref) => {
          const { registry } = await openRegistry()
          await registry.publish(request('ns/one', 'v1'))
          await expect(registry.resolve('ns/one', ref)).rejects.toMatchObject({ code: 'REVISION_NOT_FOUND' })
        },
      )

      test("a revision of one repo is not found in another's", async () => {
        const { registry } = await openRegistry()
        const { revision } = await registry.publish(request('ns/one', 'v1'))
        await registry.publish(request('ns/two', 'v1'))
        await expect(registry.resolve('ns/two', revision)).rejects.toMatchObject({ code: 'REVISION_NOT_FOUND' })
      })
    })

    describe('what is refused', () => {
      test.each([
        ['a name that is no repo id', { repo: 'one' }, 'NAME_INVALID'],
        ['a branch that reads like a revision', { branch: 'a'.repeat(40) }, 'NAME_INVALID'],
        ['a path that climbs out', { files: [textFile('../x', 'x')] }, 'PATH_INVALID'],
        ['a path twice', { files: [textFile('x', '1'), textFile('x', '2')] }, 'PATH_INVALID'],
        ['a file that is a folder too', { files: [textFile('x', '1'), textFile('x/y', '2')] }, 'PATH_INVALID'],
        ['a stored path that is derived too', { files: [textFile('adapter_model.safetensors', '1')] }, 'PATH_INVALID'],
        [
          'bytes of another digest',
          { files: [{ ...textFile('x', '1'), digest: sha256(new Uint8Array(3)) }] },
          'DIGEST_MISMATCH',
        ],
        ['bytes of another size', { files: [{ ...textFile('x', '1'), size: 2 }] }, 'DIGEST_MISMATCH'],
        ['an annotation that JSON cannot hold', { annotations: { density: Number.NaN } }, 'MANIFEST_INVALID'],
        ['a tag named like the branch', { tags: ['main'] }, 'REF_CONFLICT'],
      ] as [string, Partial<PublishRequest>, string][])('%s, and nothing is stored', async (_, change, code) => {
        const { parts, registry } = await openRegistry()
        await expect(registry.publish(request('ns/one', 'v1', change))).rejects.toMatchObject({ code })
        expect(await keysOf(parts.store)).toEqual([])
        expect(await parts.index.listIntents()).toEqual([])
      })

      test('a name that differs from another in case only', async () => {
        const { registry } = await openRegistry()
        await registry.publish(request('Ns/One', 'v1'))
        const clash = registry.publish(request('ns/one', 'v2'))
        await expect(clash).rejects.toMatchObject({ code: 'REPO_CONFLICT', detail: { taken_by: 'Ns/One' } })
        await expect(registry.resolve('ns/one')).rejects.toMatchObject({ code: 'REPO_NOT_FOUND' })
        expect((await registry.resolve('Ns/One')).repo).toBe('Ns/One')
      })

      test('an expert under the name of a base', async () => {
        const { registry } = await openRegistry()
        await registry.publish(request('ns/one', 'v1', { type: 'base' }))
        await expect(registry.publish(request('ns/one', 'v1'))).rejects.toMatchObject({ code: 'REPO_CONFLICT' })
      })

      test('a parent other than the expected one', async () => {
        const { registry } = await openRegistry()
        const conflict = { code: 'REF_CONFLICT' }
        await expect(registry.publish(request('ns/one', 'v1', { expectParent: '0'.repeat(40) }))).rejects.toMatchObject(
          conflict,
        )
        const first = await registry.publish(request('ns/one', 'v1', { expectParent: null }))
        await expect(registry.publish(request('ns/one', 'v2', { expectParent: null }))).rejects.toMatchObject(conflict)
        const second = await registry.publish(request('ns/one', 'v2', { expectParent: first.revision }))
        const third = await registry.publish(request('ns/one', 'v3', { expectParent: second.digest }))
        await expect(registry.publish(request('ns/one', 'v4', { expectParent: first.revision }))).rejects.toMatchObject(
          conflict,
        )
        expect((await registry.resolve('ns/one')).digest).toBe(third.digest)
      })

      test('an aborted publish, which leaves no ref', async () => {
        const { registry } = await openRegistry()
        const aborted = registry.publish(request('ns/one', 'v1', { signal: AbortSignal.abort() }))
        await expect(aborted).rejects.toMatchObject({ name: 'AbortError' })
        await expect(registry.resolve('ns/one')).rejects.toMatchObject({ code: 'REPO_NOT_FOUND' })
      })
    })

    describe('publishes at the same time', () => {
      test('to one branch all land, one after the other', async () => {
        const { parts, registry } = await openRegistry()
        const contents = Array.from({ length: 8 }, (_, i) => `content ${i}`)
        const results = await Promise.all(contents.map((content) => registry.publish(request('ns/one', content))))
        const { revisions } = await registry.repo('ns/one')
        expect(new Set(revisions.map((r) => r.digest))).toEqual(new Set(results.map((r) => r.digest)))
        let length = 0
        for (let at: Digest | null = (await registry.resolve('ns/one')).digest; at !== null; length += 1) {
          at = (await registry.resolve('ns/one', at)).manifest.parent
        }
        expect(length).toBe(8)
        expect((await verifyRegistry(parts)).problems).toEqual([])
      })

      test('of those that expect one parent exactly one lands', async () => {
        const { registry } = await openRegistry()
        const { revision } = await registry.publish(request('ns/one', 'start'))
        const publishes = Array.from({ length: 6 }, (_, i) =>
          registry.publish(request('ns/one', `content ${i}`, { expectParent: revision })),
        )
        const results = await Promise.allSettled(publishes)
        const lost = results.filter((result) => result.status === 'rejected')
        expect(lost).toHaveLength(5)
        for (const result of lost) expect(result.reason).toMatchObject({ code: 'REF_CONFLICT' })
        expect((await registry.repo('ns/one')).revisions).toHaveLength(2)
      })

      test('of the same content make one revision', async () => {
        const { registry } = await openRegistry()
        const results = await Promise.all(Array.from({ length: 6 }, () => registry.publish(request('ns/one', 'same'))))
        expect(new Set(results.map((result) => result.digest)).size).toBe(1)
        expect((await registry.repo('ns/one')).revisions).toHaveLength(1)
      })

      test('by two registries on one store and index all land', async () => {
        const { parts, registry } = await openRegistry()
        const both = [registry, new Registry(parts)]
        const publishes = Array.from({ length: 6 }, (_, i) => both[i % 2]?.publish(request('ns/one', `content ${i}`)))
        await Promise.all(publishes)
        expect((await registry.repo('ns/one')).revisions).toHaveLength(6)
        expect((await verifyRegistry(parts)).problems).toEqual([])
      })
    })

    describe('tags', () => {
      test('are set on any revision, moved and deleted', async () => {
        const { registry } = await openRegistry()
        const first = await registry.publish(request('ns/one', 'v1'))
        const second = await registry.publish(request('ns/one', 'v2'))
        expect(await registry.setTag('ns/one', 'best', first.revision)).toEqual({ ...first, ref: 'best' })
        expect((await registry.resolve('ns/one', 'best')).digest).toBe(first.digest)
        await registry.setTag('ns/one', 'best', 'main')
        expect((await registry.resolve('ns/one', 'best')).digest).toBe(second.digest)
        await registry.setTag('ns/one', 'copy', 'best')
        const { tags, branches } = await registry.repo('ns/one')
        expect(tags).toMatchObject([{ name: 'best', revision: second.revision }, { name: 'copy' }])
        expect(branches).toMatchObject([{ name: 'main', digest: second.digest }])
        await registry.deleteTag('ns/one', 'best')
        await expect(registry.resolve('ns/one', 'best')).rejects.toMatchObject({ code: 'REVISION_NOT_FOUND' })
        await expect(registry.deleteTag('ns/one', 'best')).rejects.toMatchObject({ code: 'REVISION_NOT_FOUND' })
      })

      test('cannot have the name of a branch', async () => {
        const { registry } = await openRegistry()
        await registry.publish(request('ns/one', 'v1', { tags: ['v1'] }))
        await expect(registry.setTag('ns/one', 'main', 'main')).rejects.toMatchObject({ code: 'REF_CONFLICT' })
        const branch = registry.publish(request('ns/one', 'v2', { branch: 'v1' }))
        await expect(branch).rejects.toMatchObject({ code: 'REF_CONFLICT' })
      })

      test('set with a publish are moved when they exist', async () => {
        const { registry } = await openRegistry()
        await registry.publish(request('ns/one', 'v1', { tags: ['latest'] }))
        const second = await registry.publish(request('ns/one', 'v2', { tags: ['latest'] }))
        expect((await registry.resolve('ns/one', 'latest')).digest).toBe(second.digest)
      })

      test('set at the same time are all there', async () => {
        const { registry } = await openRegistry()
        await registry.publish(request('ns/one', 'v1'))
        const names = Array.from({ length: 6 }, (_, i) => `t${i}`)
        await Promise.all(names.map((tag) => registry.setTag('ns/one', tag, 'main')))
        expect((await registry.repo('ns/one')).tags.map((tag) => tag.name)).toEqual(names)
      })
    })

    describe('lists', () => {
      test('repos by name in pages, filtered by type, kind, base and part of the name', async () => {
        const { registry } = await openRegistry()
        for (const repo of ['b/Two', 'a/one', 'c/three']) await registry.publish(request(repo, repo))
        const base = { kind: 'full', base: { repo: 'a/model', revision: 'main' } }
        await registry.publish(request('d/four', 'x', { annotations: base }))
        await registry.publish(request('a/model', 'x', { type: 'base', annotations: {} }))
        const names = async (query: Parameters<Registry['listRepos']>[0]) =>
          (await registry.listRepos(query)).repos.map((repo) => repo.repo)
        expect(await names({})).toEqual(['a/model', 'a/one', 'b/Two', 'c/three', 'd/four'])
        expect(await names({ type: 'base' })).toEqual(['a/model'])
        expect(await names({ search: 'TWO' })).toEqual(['b/Two'])
        expect(await names({ base: 'a/model' })).toEqual(['d/four'])
        expect(await names({ kind: 'lora', search: 'e' })).toEqual(['a/one', 'c/three'])
        const pages: string[][] = []
        for (let cursor: string | undefined; ; ) {
          const page = await registry.listRepos({ limit: 2, ...(cursor === undefined ? {} : { cursor }) })
          pages.push(page.repos.map((repo) => repo.repo))
          cursor = page.next
          if (cursor === undefined) break
        }
        expect(pages).toEqual([['a/model', 'a/one'], ['b/Two', 'c/three'], ['d/four']])
      })

      test('tell what the head of a repo is and how large', async () => {
        const { registry } = await openRegistry()
        await registry.publish(request('ns/one', 'v1'))
        const { revision, digest } = await registry.publish(request('ns/one', 'longer'))
        const { repos } = await registry.listRepos()
        const size = 'about ns/one'.length + 'longer'.length
        expect(repos).toMatchObject([
          { repo: 'ns/one', type: 'expert', revision, digest, kind: 'lora', base: null, size, files: 2 },
        ])
      })

      test('refuse a cursor they did not give', async () => {
        const { registry } = await openRegistry()
        await expect(registry.listRepos({ cursor: '%%%' })).rejects.toMatchObject({ code: 'CURSOR_INVALID' })
      })
    })

    describe('deleting a repo', () => {
      test('makes it unknown, and its name free for another spelling and type', async () => {
        const { parts, registry } = await openRegistry()
        const { revision } = await registry.publish(request('Ns/One', 'v1'))
        await registry.deleteRepo('Ns/One')
        await expect(registry.resolve('Ns/One', revision)).rejects.toMatchObject({ code: 'REPO_NOT_FOUND' })
        expect((await registry.listRepos()).repos).toEqual([])
        const again = await registry.publish(request('ns/one', 'v1', { type: 'base' }))
        expect(again.manifest.parent).toBeNull()
        await expect(registry.resolve('ns/one', revision)).rejects.toMatchObject({ code: 'REVISION_NOT_FOUND' })
        expect((await verifyRegistry(parts)).problems).toEqual([])
      })
    })
  })
}
