/**
 * The registry: repos with branches, tags and revisions over content-addressed blobs. The bucket is the truth and is
 * written first; the index answers, and is brought up to the bucket wherever it may lag behind it.
 */
import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { BlobStore, ByteRange } from './blob-store.ts'
import { type Digest, isDigest, isRevision, revisionOf } from './digest.ts'
import { RegistryError } from './errors.ts'
import type {
  IndexedRef,
  IndexedRepo,
  RegistryIndex,
  RepoPage,
  RepoQuery,
  RevisionSummary,
  SnapshotRevision,
} from './index.ts'
import { type RegistryWork, replayIntents, settleRepo, step, withIntent } from './intents.ts'
import { blobKey, repoKey } from './keys.ts'
import type { Manifest, RepoType } from './manifest.ts'
import { checkRefName, parseRepoId, type RepoId } from './names.ts'
import { type PublishRequest, publishRevision, refTaken } from './publish.ts'
import { readRange } from './read-object.ts'
import { nextVersion, type RepoDocument, readRepo, updateRepo } from './repo-document.ts'
import { indexDocument, readRevision, syncRepo } from './snapshot.ts'

export interface RegistryOptions {
  readonly store: BlobStore
  readonly index: RegistryIndex
  readonly signedUrlTtlSeconds?: number
  /** Called with the name of every step of a change, before and after it: for tests that end the process there. */
  readonly onStep?: (step: string) => void
}

/** A revision that was asked for by some name. */
export interface Resolved {
  readonly repo: RepoId
  readonly type: RepoType
  /** The name it was asked for by. */
  readonly ref: string
  /** 40 hex digits. */
  readonly revision: string
  readonly digest: Digest
  readonly manifest: Manifest
  readonly created: Date
}

export interface RefSummary {
  readonly name: string
  readonly revision: string
  readonly digest: Digest
  readonly updated: Date
}

export interface RepoDetail {
  readonly repo: RepoId
  readonly type: RepoType
  readonly created: Date
  readonly updated: Date
  readonly branches: readonly RefSummary[]
  readonly tags: readonly RefSummary[]
  /** Newest first, at most MAX_REVISIONS_SHOWN. */
  readonly revisions: readonly RevisionSummary[]
}

/** A blob as random access bytes: what tensor readers take. */
export interface BlobSource {
  readonly size: number
  read(start: number, end: number, signal?: AbortSignal): Promise<Uint8Array>
}

const DEFAULT_BRANCH = 'main'
const SIGNED_URL_TTL_SECONDS = 3600
const MAX_REVISIONS_SHOWN = 1_000

export class Registry {
  readonly store: BlobStore
  readonly index: RegistryIndex
  readonly #work: RegistryWork
  readonly #signedUrlTtl: number

  constructor(options: RegistryOptions) {
    this.store = options.store
    this.index = options.index
    this.#signedUrlTtl = options.signedUrlTtlSeconds ?? SIGNED_URL_TTL_SECONDS
    this.#work = {
      store: options.store,
      index: options.index,
      owner: randomUUID(),
      inFlight: new Set(),
      onStep: options.onStep ?? (() => undefined),
    }
  }

  /** Call once when the server starts, before anything else. Answers how many intents there were. */
  replayIntents(): Promise<number> {
    return replayIntents(this.#work)
  }

  /** See publishRevision(). */
  async publish(request: PublishRequest): Promise<Resolved> {
    parseRepoId(request.repo)
    const revision = await publishRevision(this.#work, request)
    return resolved(request.repo, request.branch ?? DEFAULT_BRANCH, revision)
  }

  /**
   * The revision that a branch, tag, 40-digit revision, full digest or `HEAD` names; default main. What the index does
   * not know is looked up in the bucket before it is denied. Throws REPO_NOT_FOUND, REVISION_NOT_FOUND.
   */
  async resolve(repo: RepoId, ref: string = DEFAULT_BRANCH): Promise<Resolved> {
    parseRepoId(repo)
    await settleRepo(this.#work, repo)
    const found = (await this.#lookUp(repo, ref)) ?? (await this.#lookUpInBucket(repo, ref))
    return resolved(repo, ref, found)
  }

  /** Branches, tags and history. Throws REPO_NOT_FOUND. */
  async repo(repo: RepoId): Promise<RepoDetail> {
    parseRepoId(repo)
    await settleRepo(this.#work, repo)
    const found = (await this.index.findRepo(repo)) ?? (await this.#syncedRepo(repo))
    const { type, created, updated, refs } = found
    const revisions = await this.index.listRevisions(repo, MAX_REVISIONS_SHOWN)
    return {
      repo,
      type,
      created,
      updated,
      branches: summaries(refs, 'branch'),
      tags: summaries(refs, 'tag'),
      revisions,
    }
  }

  /** A page of repos by name, from the index alone: a change that failed half way may be missing until it is settled. */
  async listRepos(query: RepoQuery = {}): Promise<RepoPage> {
    return this.index.listRepos(query)
  }

  /** The stored bytes, or a range of them. Throws BLOB_NOT_FOUND, RANGE_INVALID. */
  openBlob(digest: Digest, range?: ByteRange, signal?: AbortSignal): Promise<Readable> {
    return this.store.read(blobKey(digest), range, signal)
  }

  /** Random access to a blob of known size. */
  blobSource(digest: Digest, size: number): BlobSource {
    return {
      size,
      read: async (start, end, signal) =>
        start === end ? new Uint8Array() : readRange(this.store, blobKey(digest), { start, end }, signal),
    }
  }

  /** URL that serves the blob without us, under this file name; undefined where the store has none. */
  signedUrl(digest: Digest, fileName?: string): Promise<string | undefined> {
    return this.store.signedUrl(blobKey(digest), this.#signedUrlTtl, fileName)
  }

  /** Where the blob lies as a plain file on this machine, to be read only; undefined in other stores. */
  async localPath(digest: Digest): Promise<string | undefined> {
    return this.store.localPath?.(blobKey(digest))
  }

  /** Points a tag at the revision that `ref` names; moves it where it exists. */
  async setTag(repo: RepoId, tag: string, ref: string): Promise<Resolved> {
    parseRepoId(repo)
    checkRefName(tag)
    // Outside the change: it may look into the bucket, and its answer is checked again inside.
    await this.resolve(repo, ref)
    const revision = await this.#changeRefs(repo, async (document) => {
      if (document.branches.has(tag)) throw refTaken(repo, tag, 'branch')
      const target = await this.#resolveIn(document, ref)
      const tags = new Map(document.tags).set(tag, { digest: target.digest, updated: new Date() })
      return { document: { ...document, tags }, result: target }
    })
    return resolved(repo, tag, revision)
  }

  /** Throws REVISION_NOT_FOUND when there is no such tag. */
  async deleteTag(repo: RepoId, tag: string): Promise<void> {
    parseRepoId(repo)
    await this.#changeRefs(repo, async (document) => {
      const tags = new Map(document.tags)
      if (!tags.delete(tag)) throw revisionNotFound(repo, tag)
      return { document: { ...document, tags }, result: undefined }
    })
  }

  /** Forgets the repo; what only it reached is left to gc. Throws REPO_NOT_FOUND. */
  async deleteRepo(repo: RepoId): Promise<void> {
    const key = repoKey(repo)
    const present = await readRepo(this.store, repo)
    if (present === undefined || present.document.repo !== repo) {
      await syncRepo(this.#work, repo)
      throw repoNotFound(repo, present?.document.repo)
    }
    await withIntent(this.#work, repo, [], async (intent) => {
      await step(this.#work, 'delete', () => this.store.delete(key))
      await step(this.#work, 'index', () => this.index.removeRepo(repo, present.document.version, intent.id))
    })
  }

  async #lookUp(repo: RepoId, ref: string): Promise<SnapshotRevision | undefined> {
    const found = await this.index.findRepo(repo)
    if (found === undefined) return undefined
    return this.index.findRevision(repo, targetOf(found.refs, ref))
  }

  async #lookUpInBucket(repo: RepoId, ref: string): Promise<SnapshotRevision> {
    const { refs } = await this.#syncedRepo(repo)
    const target = targetOf(refs, ref)
    const found = await this.index.findRevision(repo, target)
    if (found !== undefined) return found
    // A ref to what cannot be read: say what is wrong with it.
    if (isDigest(target) && target !== ref) return readRevision(this.store, target)
    throw revisionNotFound(repo, ref)
  }

  async #syncedRepo(repo: RepoId): Promise<IndexedRepo> {
    const document = await syncRepo(this.#work, repo)
    const found = await this.index.findRepo(repo)
    if (found === undefined) throw repoNotFound(repo, document?.repo)
    return found
  }

  /** A change of the refs that adds no revision. */
  async #changeRefs<T>(
    repo: RepoId,
    change: (document: RepoDocument) => Promise<{ document: RepoDocument; result: T }>,
  ): Promise<T> {
    return withIntent(this.#work, repo, [], async (intent) => {
      let last: { result: T } | undefined
      const document = await updateRepo(
        this.store,
        repo,
        async (present) => {
          if (present === undefined || present.repo !== repo) throw repoNotFound(repo, present?.repo)
          const changed = await change(present)
          last = changed
          return { ...changed.document, version: nextVersion(present) }
        },
        (swap) => step(this.#work, 'ref', swap),
      )
      if (document === undefined || last === undefined) throw new Error('the refs were changed without a document')
      await step(this.#work, 'index', () =>
        indexDocument(this.#work, document, { finishedIntent: intent.id, prune: true }),
      )
      return last.result
    })
  }

  /** As resolve(), by the refs of this very document: the revision must still be reachable from them. */
  async #resolveIn(document: RepoDocument, ref: string): Promise<SnapshotRevision> {
    const direct = document.branches.get(ref === 'HEAD' ? DEFAULT_BRANCH : ref) ?? document.tags.get(ref)
    if (direct !== undefined) return this.#revision(document.repo, direct.digest)
    const seen = new Set<Digest>()
    for (const { digest } of [...document.branches.values(), ...document.tags.values()]) {
      for (let next: Digest | null = digest; next !== null && !seen.has(next); ) {
        seen.add(next)
        const revision = await this.#revision(document.repo, next)
        if (next === ref || revisionOf(next) === ref) return revision
        next = revision.manifest.parent
      }
    }
    throw revisionNotFound(document.repo, ref)
  }

  async #revision(repo: RepoId, digest: Digest): Promise<SnapshotRevision> {
    return (await this.index.findRevision(repo, digest)) ?? readRevision(this.store, digest)
  }
}

/** What to look for in the list of revisions: the digest that a branch or tag points to, or the name itself. */
function targetOf(refs: readonly IndexedRef[], ref: string): Digest | string {
  const name = ref === 'HEAD' ? DEFAULT_BRANCH : ref
  const found = refs.find((r) => r.kind === 'branch' && r.name === name) ?? refs.find((r) => r.name === name)
  return found?.digest ?? (isDigest(ref) || isRevision(ref) ? ref : '')
}

function summaries(refs: readonly IndexedRef[], kind: 'branch' | 'tag'): RefSummary[] {
  return refs
    .filter((ref) => ref.kind === kind)
    .map(({ name, digest, updated }) => ({ name, revision: revisionOf(digest), digest, updated }))
}

function resolved(repo: RepoId, ref: string, { digest, manifest, created }: SnapshotRevision): Resolved {
  return { repo, type: manifest.type, ref, revision: revisionOf(digest), digest, manifest, created }
}

function repoNotFound(repo: RepoId, spelled?: string): RegistryError {
  const hint = spelled === undefined || spelled === repo ? '' : `; there is ${spelled}`
  return new RegistryError('REPO_NOT_FOUND', `there is no repo ${repo}${hint}`, { repo })
}

function revisionNotFound(repo: RepoId, ref: string): RegistryError {
  const shown = ref.slice(0, 200)
  return new RegistryError('REVISION_NOT_FOUND', `${repo} has no branch, tag or revision "${shown}"`, {
    repo,
    ref: shown,
  })
}
