/**
 * The one mutable object of a repo: its type, and where its branches and tags point. It is replaced as a whole, by
 * compare-and-swap, so a publish that also sets tags is one step, and deleting a repo is deleting this object.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { BlobStore } from './blob-store.ts'
import { canonicalBytes, isPlainObject } from './canonical-json.ts'
import { type Digest, isDigest } from './digest.ts'
import { RegistryError } from './errors.ts'
import { repoKey } from './keys.ts'
import { isRepoType, type RepoType } from './manifest.ts'
import { checkRefName, parseRepoId, type RepoId } from './names.ts'
import { readObject } from './read-object.ts'

export interface RepoDocument {
  readonly repo: RepoId
  readonly type: RepoType
  /** Grows with every change, also over delete and re-creation: at least the time of the change in ms. */
  readonly version: number
  readonly created: Date
  readonly branches: ReadonlyMap<string, RefEntry>
  readonly tags: ReadonlyMap<string, RefEntry>
}

export interface RefEntry {
  readonly digest: Digest
  readonly updated: Date
}

/** All refs of a repo are read and written together: the bound keeps that small. */
const MAX_REFS = 2_000
const MAX_DOCUMENT_BYTES = 1024 * 1024
/** Tries of one change against others that keep changing the same repo. */
const MAX_TRIES = 60
const RETRY_DELAY_MS = 20

/** The document as it is now, and the etag to replace it by. Throws MANIFEST_INVALID when it cannot be read. */
export async function readRepo(
  store: BlobStore,
  repo: RepoId,
): Promise<{ document: RepoDocument; etag: string } | undefined> {
  const key = repoKey(repo)
  // First the etag, then the content: should it change in between, the swap fails and nothing is lost.
  const stat = await store.stat(key)
  if (stat === undefined) return undefined
  const bytes = await readObject(store, key, MAX_DOCUMENT_BYTES)
  return bytes === undefined ? undefined : { document: parseRepoDocument(bytes), etag: stat.etag }
}

/**
 * Changes the document: `change` gets what is there and answers what shall be, or undefined to leave it. Called again
 * whenever someone else was faster. Throws REF_CONFLICT after many tries.
 */
export async function updateRepo(
  store: BlobStore,
  repo: RepoId,
  change: (document: RepoDocument | undefined) => Promise<RepoDocument | undefined>,
  around: (write: () => Promise<boolean>) => Promise<boolean> = (write) => write(),
): Promise<RepoDocument | undefined> {
  for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
    const present = await readRepo(store, repo)
    const next = await change(present?.document)
    if (next === undefined) return present?.document
    if (await around(() => swap(store, next, present?.etag))) return next
    await delay(RETRY_DELAY_MS * tries * Math.random())
  }
  throw new RegistryError('REF_CONFLICT', `${repo} is being changed by too many others at once; try again`, { repo })
}

async function swap(store: BlobStore, document: RepoDocument, etag: string | undefined): Promise<boolean> {
  const bytes = encodeRepoDocument(document)
  try {
    const condition = etag === undefined ? ({ ifAbsent: true } as const) : { ifMatch: etag }
    return (await store.write(repoKey(document.repo), bytes, condition)).written
  } catch (error) {
    if (error instanceof RegistryError && error.code === 'REF_CONFLICT') return false
    throw error
  }
}

/** The version that follows: later than the last and than any that a deleted namesake had. */
export function nextVersion(document: RepoDocument | undefined): number {
  return Math.max(Date.now(), (document?.version ?? 0) + 1)
}

export function encodeRepoDocument(document: RepoDocument): Uint8Array {
  const refs = document.branches.size + document.tags.size
  if (refs > MAX_REFS) {
    const message = `${document.repo} would have ${refs} branches and tags, at most ${MAX_REFS}`
    throw new RegistryError('LIMIT_EXCEEDED', message, { repo: document.repo, refs, limit: MAX_REFS })
  }
  return canonicalBytes({
    schema: 1,
    repo: document.repo,
    type: document.type,
    version: document.version,
    created_at: document.created.toISOString(),
    branches: refsToJson(document.branches),
    tags: refsToJson(document.tags),
  })
}

function refsToJson(refs: ReadonlyMap<string, RefEntry>): Record<string, unknown> {
  const entries = [...refs].map(([name, ref]) => [name, { digest: ref.digest, updated_at: ref.updated.toISOString() }])
  return Object.fromEntries(entries)
}

/** Throws MANIFEST_INVALID, NAME_INVALID. */
export function parseRepoDocument(bytes: Uint8Array): RepoDocument {
  const value = parseJson(bytes)
  if (!isPlainObject(value)) throw invalid('it is not an object')
  const { schema, repo, type, version } = value
  if (schema !== 1) throw invalid(`schema ${JSON.stringify(schema)} is not one this version reads (1)`)
  if (typeof repo !== 'string') throw invalid('repo is not a string')
  parseRepoId(repo)
  if (!isRepoType(type)) throw invalid('type is neither "base" nor "expert"')
  if (!Number.isSafeInteger(version)) throw invalid('version is not an integer')
  const created = parseTime(value['created_at'], 'created_at')
  const branches = parseRefs(value['branches'], 'branches')
  if (branches.size === 0) throw invalid('it has no branch')
  return { repo, type, version: version as number, created, branches, tags: parseRefs(value['tags'], 'tags') }
}

function parseRefs(value: unknown, field: string): Map<string, RefEntry> {
  if (!isPlainObject(value)) throw invalid(`${field} is not an object`)
  const refs = new Map<string, RefEntry>()
  for (const [name, ref] of Object.entries(value)) {
    checkRefName(name)
    if (!isPlainObject(ref) || !isDigest(ref['digest'])) throw invalid(`${field}.${name} has no digest`)
    refs.set(name, { digest: ref['digest'], updated: parseTime(ref['updated_at'], `${field}.${name}.updated_at`) })
  }
  return refs
}

function parseTime(value: unknown, field: string): Date {
  const time = new Date(typeof value === 'string' ? value : Number.NaN)
  if (Number.isNaN(time.getTime())) throw invalid(`${field} is not a time`)
  return time
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new RegistryError('MANIFEST_INVALID', 'the repo document is not JSON in UTF-8', {}, { cause })
  }
}

/** Throws REPO_CONFLICT when the name is taken by another spelling or type. */
export function checkSameRepo(document: RepoDocument, repo: RepoId, type: RepoType): void {
  if (document.repo !== repo) {
    const message = `the name ${repo} is taken by ${document.repo}: repos must not differ in case only`
    throw new RegistryError('REPO_CONFLICT', message, { repo, taken_by: document.repo })
  }
  if (document.type !== type) {
    const message = `${repo} is of type ${document.type}; it cannot be published to as ${type}`
    throw new RegistryError('REPO_CONFLICT', message, { repo, type, present: document.type })
  }
}

function invalid(why: string): RegistryError {
  return new RegistryError('MANIFEST_INVALID', `repo document: ${why}`)
}
