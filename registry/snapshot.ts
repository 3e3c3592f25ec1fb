/** Reads the bucket's word about a repo and brings the index up to it. */
import type { BlobStore } from './blob-store.ts'
import { type Digest, sha256 } from './digest.ts'
import { RegistryError } from './errors.ts'
import type { Awaitable, IndexedRef, RegistryIndex, RepoSnapshot, SnapshotOptions, SnapshotRevision } from './index.ts'
import { manifestKey } from './keys.ts'
import { MAX_MANIFEST_BYTES, parseManifest } from './manifest.ts'
import type { RepoId } from './names.ts'
import { readObject } from './read-object.ts'
import { type RepoDocument, readRepo } from './repo-document.ts'

/** What every part of the registry works on. */
export interface RegistryParts {
  readonly store: BlobStore
  readonly index: RegistryIndex
}

/** A revision whose manifest is missing, damaged or not of this repo. */
export interface BrokenRevision {
  readonly digest: Digest
  readonly error: RegistryError
}

/** Reads and checks one manifest. Throws BLOB_NOT_FOUND, DIGEST_MISMATCH, MANIFEST_INVALID. */
export async function readRevision(store: BlobStore, digest: Digest): Promise<SnapshotRevision> {
  const key = manifestKey(digest)
  const stat = await store.stat(key)
  const bytes = stat && (await readObject(store, key, MAX_MANIFEST_BYTES))
  if (stat === undefined || bytes === undefined) {
    throw new RegistryError('BLOB_NOT_FOUND', `the manifest ${digest} is not in the store`, { digest })
  }
  const found = sha256(bytes)
  if (found !== digest) {
    throw new RegistryError('DIGEST_MISMATCH', `the manifest ${digest} is damaged: its bytes are ${found}`, {
      digest,
      found,
    })
  }
  return { digest, manifest: parseManifest(bytes), created: stat.modified }
}

/**
 * The repo with every revision that its refs reach, oldest first; a history is followed until it meets a revision that
 * `known` says is not needed. Broken revisions are set aside: what stands before them cannot be found.
 */
export async function takeSnapshot(
  store: BlobStore,
  document: RepoDocument,
  known: (digest: Digest) => Awaitable<boolean> = () => false,
): Promise<{ snapshot: RepoSnapshot; broken: readonly BrokenRevision[] }> {
  const { repo, type, version, created } = document
  const refs = refsOf(document)
  const seen = new Set<Digest>()
  const broken: BrokenRevision[] = []
  const revisions: SnapshotRevision[] = []
  for (const ref of refs) {
    const line: SnapshotRevision[] = []
    for (let next: Digest | null = ref.digest; next !== null && !seen.has(next) && !(await known(next)); ) {
      seen.add(next)
      const read: SnapshotRevision | RegistryError = await tryRead(store, document, next)
      if (read instanceof RegistryError) {
        broken.push({ digest: next, error: read })
        break
      }
      line.push(read)
      next = read.manifest.parent
    }
    revisions.push(...line.reverse())
  }
  return { snapshot: { repo, type, version, created, refs, revisions }, broken }
}

async function tryRead(
  store: BlobStore,
  document: RepoDocument,
  digest: Digest,
): Promise<SnapshotRevision | RegistryError> {
  try {
    const revision = await readRevision(store, digest)
    const { repo, type } = revision.manifest
    if (repo === document.repo && type === document.type) return revision
    const message = `the manifest ${digest} is of ${type} ${repo}, not of ${document.type} ${document.repo}`
    return new RegistryError('MANIFEST_INVALID', message, { digest, repo })
  } catch (error) {
    if (error instanceof RegistryError && error.code !== 'STORE_UNAVAILABLE') return error
    throw error
  }
}

/** Brings the index up to the bucket for one repo. Answers the document, or undefined when there is no such repo. */
export async function syncRepo(
  parts: RegistryParts,
  repo: RepoId,
  options: Pick<SnapshotOptions, 'finishedIntent'> = {},
): Promise<RepoDocument | undefined> {
  // Read before the bucket is: what enters the index meanwhile has a later version and stays.
  const before = await parts.index.findRepo(repo)
  const found = await readRepo(parts.store, repo)
  if (found === undefined) {
    await parts.index.removeRepo(repo, before?.version ?? 0, options.finishedIntent)
    return undefined
  }
  await indexDocument(parts, found.document, { ...options, prune: true })
  return found.document
}

/** Takes a document just read or written into the index, with the revisions that the index lacks. */
export async function indexDocument(
  parts: RegistryParts,
  document: RepoDocument,
  options: Pick<SnapshotOptions, 'finishedIntent' | 'prune'>,
): Promise<void> {
  const known = async (digest: Digest) => (await parts.index.findRevision(document.repo, digest)) !== undefined
  const { snapshot } = await takeSnapshot(parts.store, document, known)
  await parts.index.putRepo(snapshot, options)
}

export function refsOf(document: RepoDocument): IndexedRef[] {
  const branches = [...document.branches].map(([name, ref]) => ({ kind: 'branch' as const, name, ...ref }))
  const tags = [...document.tags].map(([name, ref]) => ({ kind: 'tag' as const, name, ...ref }))
  return [...branches, ...tags]
}
