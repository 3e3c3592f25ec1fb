/**
 * Checks the whole registry: every repo document, every manifest of every history, every stored file (its bytes are
 * hashed again), and the index against the bucket. Lists everything it finds; it stops only when the store does.
 */
import { forEachOf } from './concurrency.ts'
import { type Digest, revisionOf, sha256OfStream } from './digest.ts'
import { repoDocuments } from './documents.ts'
import { RegistryError } from './errors.ts'
import { blobKey } from './keys.ts'
import type { RepoId } from './names.ts'
import { type RepoDocument, readRepo } from './repo-document.ts'
import { type RegistryParts, refsOf, takeSnapshot } from './snapshot.ts'

export type ProblemKind =
  | 'document_invalid' // a repo's branches and tags cannot be read
  | 'manifest_missing'
  | 'manifest_invalid' // damaged, malformed, or of another repo
  | 'blob_missing'
  | 'blob_size'
  | 'blob_damaged' // its bytes do not have the digest they are stored under
  | 'index_differs' // the index tells something else than the bucket: reindex

export interface Problem {
  readonly kind: ProblemKind
  readonly message: string
  readonly repo?: RepoId
  readonly revision?: string
  readonly path?: string
  readonly digest?: Digest
}

export interface VerifyOptions {
  /** Default true. false: look at sizes only, without reading the bytes. */
  readonly hash?: boolean
  readonly signal?: AbortSignal
  readonly onProgress?: (done: number, total: number) => void
}

export interface VerifyReport {
  readonly repos: number
  readonly revisions: number
  readonly blobs: number
  /** Bytes of the blobs. */
  readonly bytes: number
  readonly problems: readonly Problem[]
}

/** Reading and hashing keep one core busy; a few at a time hide the store's latency. */
const BLOBS_AT_ONCE = 4

interface BlobUse {
  readonly repo: RepoId
  readonly revision: string
  readonly path: string
  readonly size: number
}

export async function verifyRegistry(parts: RegistryParts, options: VerifyOptions = {}): Promise<VerifyReport> {
  const problems: Problem[] = []
  const blobs = new Map<Digest, BlobUse>()
  const repos = new Set<RepoId>()
  let revisions = 0
  for await (const found of repoDocuments(parts.store, await parts.index.repoNames(), options.signal)) {
    if ('error' in found) {
      problems.push({ kind: 'document_invalid', message: `${found.key}: ${found.error.message}` })
      continue
    }
    repos.add(found.document.repo)
    revisions += await verifyRepo(parts, found.document, blobs, problems)
  }
  await verifyIndexedNames(parts, repos, problems)
  const bytes = await verifyBlobs(parts, blobs, problems, options)
  return { repos: repos.size, revisions, blobs: blobs.size, bytes, problems }
}

/** Collects the repo's blobs. Answers how many revisions it has. */
async function verifyRepo(
  parts: RegistryParts,
  document: RepoDocument,
  blobs: Map<Digest, BlobUse>,
  problems: Problem[],
): Promise<number> {
  const { repo } = document
  const { snapshot, broken } = await takeSnapshot(parts.store, document)
  for (const { digest, error } of broken) {
    const kind = error.code === 'BLOB_NOT_FOUND' ? 'manifest_missing' : 'manifest_invalid'
    problems.push({ kind, message: error.message, repo, revision: revisionOf(digest), digest })
  }
  for (const { digest, manifest } of snapshot.revisions) {
    const revision = revisionOf(digest)
    for (const { path, size, digest: blob } of manifest.files) {
      const use = blobs.get(blob)
      if (use === undefined) blobs.set(blob, { repo, revision, path, size })
      else if (use.size !== size) {
        const message = `${blob} has ${size} bytes here and ${use.size} in ${use.repo}@${use.revision}`
        problems.push({ kind: 'manifest_invalid', message, repo, revision, path, digest: blob })
      }
    }
  }
  const difference = await indexDifference(
    parts,
    document,
    snapshot.revisions.map((r) => r.digest),
  )
  if (difference !== undefined) problems.push({ kind: 'index_differs', message: difference, repo })
  return snapshot.revisions.length
}

/** What the index says differently, unless a change of the repo is under way or came in between. */
async function indexDifference(
  parts: RegistryParts,
  document: RepoDocument,
  digests: readonly Digest[],
): Promise<string | undefined> {
  const found = await differenceNow(parts, document, digests)
  if (found === undefined || (await parts.index.listIntents(document.repo)).length > 0) return undefined
  const now = await readRepo(parts.store, document.repo)
  return now?.document.version === document.version ? found : undefined
}

async function differenceNow(
  parts: RegistryParts,
  document: RepoDocument,
  digests: readonly Digest[],
): Promise<string | undefined> {
  const { repo } = document
  const indexed = await parts.index.findRepo(repo)
  if (indexed === undefined) return `${repo} is not in the index`
  if (indexed.type !== document.type)
    return `${repo} is of type ${indexed.type} in the index, ${document.type} in the bucket`
  const inIndex = new Map(indexed.refs.map((ref) => [`${ref.kind} ${ref.name}`, ref.digest]))
  const refs = refsOf(document)
  const moved = refs.find((ref) => inIndex.get(`${ref.kind} ${ref.name}`) !== ref.digest)
  if (moved !== undefined) return `${repo}: the index has the ${moved.kind} ${moved.name} elsewhere`
  if (inIndex.size !== refs.length) return `${repo}: the index has ${inIndex.size} refs, the bucket ${refs.length}`
  for (const digest of digests) {
    if ((await parts.index.findRevision(repo, digest)) === undefined) return `${repo}: the index lacks ${digest}`
  }
  return undefined
}

async function verifyIndexedNames(
  parts: RegistryParts,
  repos: ReadonlySet<RepoId>,
  problems: Problem[],
): Promise<void> {
  for (const repo of await parts.index.repoNames()) {
    if (repos.has(repo) || (await parts.index.listIntents(repo)).length > 0) continue
    const stored = await readRepo(parts.store, repo).catch((error: unknown) => {
      if (error instanceof RegistryError && error.code !== 'STORE_UNAVAILABLE') return 'damaged' as const
      throw error
    })
    // A damaged document is reported already; a new one was indexed since the walk.
    if (stored !== undefined) continue
    problems.push({ kind: 'index_differs', message: `${repo} is in the index, but not in the bucket`, repo })
  }
}

async function verifyBlobs(
  parts: RegistryParts,
  blobs: ReadonlyMap<Digest, BlobUse>,
  problems: Problem[],
  options: VerifyOptions,
): Promise<number> {
  let done = 0
  let bytes = 0
  await forEachOf(
    blobs,
    BLOBS_AT_ONCE,
    async ([digest, use]) => {
      const problem = await blobProblem(parts, digest, use, options)
      if (problem !== undefined) problems.push(problem)
      bytes += use.size
      done += 1
      options.onProgress?.(done, blobs.size)
    },
    options.signal,
  )
  return bytes
}

async function blobProblem(
  parts: RegistryParts,
  digest: Digest,
  use: BlobUse,
  options: VerifyOptions,
): Promise<Problem | undefined> {
  const { repo, revision, path } = use
  const problem = (kind: ProblemKind, message: string) => ({ kind, message, repo, revision, path, digest })
  const where = `${repo}@${revision} ${path}`
  const stat = await parts.store.stat(blobKey(digest))
  if (stat === undefined) return problem('blob_missing', `${where}: ${digest} is not in the store`)
  if (stat.size !== use.size) {
    return problem('blob_size', `${where}: ${digest} has ${stat.size} bytes, ${use.size} by the manifest`)
  }
  if (options.hash === false) return undefined
  const found = await tryHash(parts, digest, options.signal)
  if (found === digest) return undefined
  if (found === 'missing') return problem('blob_missing', `${where}: ${digest} is not in the store`)
  return problem('blob_damaged', `${where}: ${digest} is damaged: ${found}`)
}

/** The digest of the stored bytes, or what kept them from being read. */
async function tryHash(parts: RegistryParts, digest: Digest, signal: AbortSignal | undefined): Promise<string> {
  try {
    const stream = await parts.store.read(blobKey(digest), undefined, signal)
    return (await sha256OfStream(stream, signal)).digest
  } catch (error) {
    signal?.throwIfAborted()
    if (!(error instanceof RegistryError)) return `it cannot be read (${(error as Error).message})`
    if (error.code === 'BLOB_NOT_FOUND') return 'missing'
    throw error
  }
}
