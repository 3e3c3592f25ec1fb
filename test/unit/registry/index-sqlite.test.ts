/** What the SQLite index keeps when snapshots arrive late or twice. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Digest, sha256 } from '../../../registry/digest.ts'
import type { IndexedRef, RepoSnapshot, SnapshotRevision } from '../../../registry/index.ts'
import { openSqliteIndex } from '../../../registry/index-sqlite.ts'
import { encodeManifest } from '../../../registry/manifest.ts'

function openEmpty() {
  const index = openSqliteIndex(':memory:')
  onTestFinished(() => index.close())
  return index
}

function revision(repo: string, text: string, parent: Digest | null = null): SnapshotRevision {
  const digest = sha256(new TextEncoder().encode(text))
  const files = [{ path: 'f', digest, size: text.length, media_type: 'a/b' }]
  const manifest = { schema: 1, repo, type: 'expert', parent, files, derived: [], annotations: {} } as const
  return { digest: encodeManifest(manifest).digest, manifest, created: new Date(1_000) }
}

const branch = (name: string, digest: Digest): IndexedRef => ({
  kind: 'branch',
  name,
  digest,
  updated: new Date(2_000),
})

function snapshot(version: number, refs: IndexedRef[], revisions: SnapshotRevision[], repo = 'ns/one'): RepoSnapshot {
  return { repo, type: 'expert', version, created: new Date(1_000), refs, revisions }
}

describe('a snapshot', () => {
  test('that is older than what is here adds its revisions and leaves the refs', () => {
    const index = openEmpty()
    const first = revision('ns/one', 'first')
    const second = revision('ns/one', 'second', first.digest)
    index.putRepo(snapshot(2, [branch('main', second.digest)], [second]))
    index.putRepo(snapshot(1, [branch('main', first.digest)], [first]))
    expect(index.findRepo('ns/one')).toMatchObject({ version: 2, refs: [{ digest: second.digest }] })
    expect(index.findRevision('ns/one', first.digest)).toMatchObject({ digest: first.digest })
  })

  test('that rebuilds replaces what is newer here', () => {
    const index = openEmpty()
    const first = revision('ns/one', 'first')
    const second = revision('ns/one', 'second')
    index.putRepo(snapshot(2, [branch('main', second.digest)], [second]))
    index.putRepo(snapshot(1, [branch('main', first.digest)], [first]), { rebuild: true })
    expect(index.findRepo('ns/one')).toMatchObject({ version: 1, refs: [{ digest: first.digest }] })
    expect(index.findRevision('ns/one', second.digest)).toBeUndefined()
  })

  test('that prunes drops the revisions that no ref reaches, and keeps histories', () => {
    const index = openEmpty()
    const first = revision('ns/one', 'first')
    const second = revision('ns/one', 'second', first.digest)
    const side = revision('ns/one', 'side')
    index.putRepo(snapshot(1, [branch('main', second.digest), branch('side', side.digest)], [first, second, side]))
    index.putRepo(snapshot(2, [branch('main', second.digest)], []), { prune: true })
    expect(index.listRevisions('ns/one', 10).map((r) => r.digest)).toEqual([second.digest, first.digest])
  })

  test('drops its intent in the same step', () => {
    const index = openEmpty()
    const first = revision('ns/one', 'first')
    index.putIntent({ id: 'a', owner: 'o', repo: 'ns/one', digests: [first.digest], started: new Date(1) })
    index.putIntent({ id: 'b', owner: 'o', repo: 'Ns/One', digests: [], started: new Date(2) })
    index.putRepo(snapshot(1, [branch('main', first.digest)], [first]), { finishedIntent: 'a' })
    expect(index.listIntents('ns/one').map((intent) => intent.id)).toEqual(['b'])
    index.dropIntent('b')
    expect(index.listIntents()).toEqual([])
  })

  test('that fails changes nothing', () => {
    const index = openEmpty()
    const first = revision('ns/one', 'first')
    expect(() => index.putRepo(snapshot(1, [], [first]))).toThrow('without a branch')
    expect(index.repoNames()).toEqual([])
  })
})

test('a repo is removed with all that belongs to it, unless it has changed since', () => {
  const index = openEmpty()
  const first = revision('ns/one', 'first')
  index.putRepo(snapshot(5, [branch('main', first.digest)], [first]))
  index.removeRepo('ns/one', 4)
  expect(index.repoNames()).toEqual(['ns/one'])
  index.removeRepo('ns/one', 5)
  expect(index.repoNames()).toEqual([])
  expect(index.findRevision('ns/one', first.digest)).toBeUndefined()
  expect(index.listRevisions('ns/one', 10)).toEqual([])
})

test('a repo is found by its own spelling only', () => {
  const index = openEmpty()
  const first = revision('Ns/One', 'first')
  index.putRepo(snapshot(1, [branch('main', first.digest)], [first], 'Ns/One'))
  expect(index.findRepo('ns/one')).toBeUndefined()
  expect(index.findRevision('ns/one', first.digest)).toBeUndefined()
  expect(index.findRepo('Ns/One')).toBeDefined()
})

test('the sequence grows with every revision and is never used again', () => {
  const index = openEmpty()
  const [first, second] = [revision('ns/one', 'first'), revision('ns/one', 'second')]
  index.putRepo(snapshot(1, [branch('main', first.digest)], [first]))
  const before = index.lastSequence()
  index.removeRepo('ns/one', 1)
  index.putRepo(snapshot(2, [branch('main', second.digest)], [second]))
  expect(index.revisionsSince(before).map((r) => r.digest)).toEqual([second.digest])
  expect(index.lastSequence()).toBeGreaterThan(before)
})

test('a page shows the first branch where there is no main', () => {
  const index = openEmpty()
  const [first, second] = [revision('ns/one', 'first'), revision('ns/one', 'second!')]
  index.putRepo(snapshot(1, [branch('a', first.digest), branch('b', second.digest)], [first, second]))
  expect(index.listRepos({}).repos).toMatchObject([{ digest: first.digest, size: 5, files: 1 }])
})
