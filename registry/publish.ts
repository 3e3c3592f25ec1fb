/**
 * Publish: intent, blobs, manifest, ref, index, in this order. A crash leaves an orphan blob for gc or an index that
 * lags until the intent is replayed; never a ref to nothing, and never an acknowledged revision that is lost.
 */
import type { BlobBody } from './blob-store.ts'
import { forEachOf } from './concurrency.ts'
import { type Digest, sha256 } from './digest.ts'
import { RegistryError } from './errors.ts'
import type { SnapshotRevision } from './index.ts'
import { type OpenIntent, type RegistryWork, step, withIntent } from './intents.ts'
import { blobKey, manifestKey } from './keys.ts'
import { checkManifest, encodeManifest, type Manifest, type ManifestFile, type RepoType } from './manifest.ts'
import { checkRefName, type RepoId } from './names.ts'
import { checkSameRepo, nextVersion, type RefEntry, type RepoDocument, readRepo, updateRepo } from './repo-document.ts'
import { indexDocument, readRevision } from './snapshot.ts'

export interface PublishFile extends ManifestFile {
  readonly body: BlobBody
}

export interface PublishRequest {
  readonly repo: RepoId
  readonly type: RepoType
  /** Default `main`. */
  readonly branch?: string
  readonly files: readonly PublishFile[]
  readonly derived: readonly ManifestFile[]
  readonly annotations: Readonly<Record<string, unknown>>
  /** Tags to set on the new revision, moved where they exist. */
  readonly tags?: readonly string[]
  /** Publish only on top of this revision or digest, null for "the branch is new"; else REF_CONFLICT. */
  readonly expectParent?: string | null
  readonly signal?: AbortSignal
}

const BLOBS_AT_ONCE = 4

/**
 * Answers the revision that the branch now points to: a new one, or the head as it was when the head holds the same
 * files and annotations. Throws NAME_INVALID, PATH_INVALID, MANIFEST_INVALID, LIMIT_EXCEEDED, DIGEST_MISMATCH,
 * REPO_CONFLICT, REF_CONFLICT, STORE_UNAVAILABLE.
 */
export async function publishRevision(work: RegistryWork, request: PublishRequest): Promise<SnapshotRevision> {
  const branch = request.branch ?? 'main'
  const tags = request.tags ?? []
  for (const name of [branch, ...tags]) checkRefName(name)
  if (tags.includes(branch)) throw refTaken(request.repo, branch, 'branch')
  const draft = draftManifest(request)
  const blobs = blobsOf(request.files)
  await checkEarly(work, request)
  return withIntent(work, request.repo, [...blobs.keys()], async (intent) => {
    const reused = await writeBlobs(work, blobs, request.signal)
    let manifest: WrittenManifest | undefined
    const document = await updateRepo(
      work.store,
      request.repo,
      async (present) => {
        request.signal?.throwIfAborted()
        manifest = await writeManifest({ work, intent, draft, branch, request }, present)
        return pointTo(present, request, branch, manifest.digest)
      },
      (swap) => step(work, 'ref', swap),
    )
    if (document === undefined || manifest === undefined) throw new Error('publish ended without a revision')
    const { digest } = manifest
    await step(work, 'recheck', () => restore(work, reused, manifest))
    await step(work, 'index', () => indexDocument(work, document, { finishedIntent: intent.id }))
    return (await work.index.findRevision(request.repo, digest)) ?? readRevision(work.store, digest)
  })
}

/** The manifest but for its parent, checked before anything is written. */
function draftManifest(request: PublishRequest): Manifest {
  const files = request.files.map(({ path, digest, size, media_type }) => ({ path, digest, size, media_type }))
  const { repo, type, derived, annotations } = request
  const draft = checkManifest({ schema: 1, repo, type, parent: null, files, derived, annotations })
  encodeManifest(draft)
  return draft
}

/** One body per digest. Throws DIGEST_MISMATCH for a body that is not what its file says. */
function blobsOf(files: readonly PublishFile[]): Map<Digest, PublishFile> {
  const blobs = new Map<Digest, PublishFile>()
  for (const file of files) {
    const { path, digest, size, body } = file
    const held = body instanceof Uint8Array ? body.byteLength : body.size
    if (held !== size) throw mismatch(path, `${size} bytes`, `${held}`)
    if (body instanceof Uint8Array && sha256(body) !== digest) throw mismatch(path, digest, sha256(body))
    blobs.set(digest, file)
  }
  return blobs
}

/** What can be refused before gigabytes are sent. */
async function checkEarly(work: RegistryWork, request: PublishRequest): Promise<void> {
  const present = await readRepo(work.store, request.repo)
  if (present !== undefined) checkSameRepo(present.document, request.repo, request.type)
}

/** Stores what is not there yet; answers the files whose blobs were there already. */
async function writeBlobs(
  work: RegistryWork,
  blobs: ReadonlyMap<Digest, PublishFile>,
  signal: AbortSignal | undefined,
): Promise<readonly PublishFile[]> {
  const reused: PublishFile[] = []
  let number = 0
  const write = async (file: PublishFile) => {
    number += 1
    await step(work, `blob ${number} of ${blobs.size}`, async () => {
      const { written } = await work.store.write(blobKey(file.digest), checkedBody(file), { ifAbsent: true })
      if (!written) reused.push(file)
    })
  }
  await forEachOf(blobs.values(), BLOBS_AT_ONCE, write, signal)
  return reused
}

function checkedBody({ body, digest }: PublishFile): BlobBody {
  return body instanceof Uint8Array ? body : { ...body, digest }
}

/**
 * What was there already may be something that gc had found unreachable before: now that the ref stands, gc keeps it,
 * so make sure that it is still there, and of the right size.
 */
async function restore(work: RegistryWork, reused: readonly PublishFile[], manifest: WrittenManifest | undefined) {
  await forEachOf(reused, BLOBS_AT_ONCE, async (file) => {
    const key = blobKey(file.digest)
    const stat = await work.store.stat(key)
    if (stat?.size !== file.size) await work.store.write(key, checkedBody(file))
  })
  if (manifest?.reusedBytes === undefined) return
  await work.store.write(manifestKey(manifest.digest), manifest.reusedBytes, { ifAbsent: true })
}

interface WrittenManifest {
  readonly digest: Digest
  /** Its bytes, when it was there already without being the head. */
  readonly reusedBytes?: Uint8Array
}

interface ManifestTask {
  readonly work: RegistryWork
  readonly intent: OpenIntent
  readonly draft: Manifest
  readonly branch: string
  readonly request: PublishRequest
}

/** Writes the manifest on top of the branch's head. Answers the head itself when it says the same. */
async function writeManifest(task: ManifestTask, document: RepoDocument | undefined): Promise<WrittenManifest> {
  const { work, intent, draft, branch, request } = task
  if (document !== undefined) checkSameRepo(document, draft.repo, draft.type)
  const head = document?.branches.get(branch)?.digest
  if (head !== undefined) {
    const { parent } = (await work.index.findRevision(draft.repo, head))?.manifest ?? (await parentOf(work, head))
    if (encodeManifest({ ...draft, parent }).digest === head) return { digest: head }
  }
  checkExpected(draft.repo, branch, head, request.expectParent)
  const { bytes, digest } = encodeManifest({ ...draft, parent: head ?? null })
  await intent.protect(digest)
  const write = () => work.store.write(manifestKey(digest), bytes, { ifAbsent: true })
  const { written } = await step(work, 'manifest', write)
  return written ? { digest } : { digest, reusedBytes: bytes }
}

async function parentOf(work: RegistryWork, digest: Digest): Promise<{ parent: Digest | null }> {
  return (await readRevision(work.store, digest)).manifest
}

function checkExpected(
  repo: RepoId,
  branch: string,
  head: Digest | undefined,
  expected: string | null | undefined,
): void {
  if (expected === undefined) return
  const holds = expected === null ? head === undefined : matches(head, expected)
  if (holds) return
  const message = `${repo}: ${branch} is at ${head ?? 'nothing'}, not at ${expected ?? 'nothing'} as expected`
  throw new RegistryError('REF_CONFLICT', message, { repo, branch, head: head ?? null, expected })
}

/** A revision is the beginning of a digest's hex. */
function matches(head: Digest | undefined, expected: string): boolean {
  return head !== undefined && (head === expected || (expected.length === 40 && head.startsWith(`sha256:${expected}`)))
}

/** The document with branch and tags at the digest, or undefined when they are there already. */
function pointTo(
  present: RepoDocument | undefined,
  request: PublishRequest,
  branch: string,
  digest: Digest,
): RepoDocument | undefined {
  const now = new Date()
  const branches = new Map(present?.branches)
  const tags = new Map(present?.tags)
  if (tags.has(branch)) throw refTaken(request.repo, branch, 'tag')
  let changed = point(branches, branch, digest, now)
  for (const tag of request.tags ?? []) {
    if (branches.has(tag)) throw refTaken(request.repo, tag, 'branch')
    changed = point(tags, tag, digest, now) || changed
  }
  if (!changed) return undefined
  const { repo, type } = request
  return { repo, type, version: nextVersion(present), created: present?.created ?? now, branches, tags }
}

function point(refs: Map<string, RefEntry>, name: string, digest: Digest, now: Date): boolean {
  if (refs.get(name)?.digest === digest) return false
  refs.set(name, { digest, updated: now })
  return true
}

export function refTaken(repo: RepoId, name: string, kind: 'branch' | 'tag'): RegistryError {
  return new RegistryError('REF_CONFLICT', `${repo} has a ${kind} named "${name}" already`, { repo, ref: name, kind })
}

function mismatch(path: string, announced: string, found: string): RegistryError {
  const message = `file "${path}" was announced as ${announced}, found ${found}`
  return new RegistryError('DIGEST_MISMATCH', message, { path, announced, found })
}
