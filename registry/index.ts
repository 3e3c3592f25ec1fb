/**
 * What the registry looks up often: repos, refs, revisions, and the publishes under way. Everything in it but the
 * intents can be rebuilt from the bucket. Methods may answer at once (SQLite) or by promise (a database server).
 */
import type { Digest } from './digest.ts'
import type { Manifest, RepoType } from './manifest.ts'
import type { RepoId } from './names.ts'

export type Awaitable<T> = T | Promise<T>

export interface RegistryIndex {
  /**
   * Takes in what the bucket says about a repo, in one transaction: its refs, when the snapshot is not older than what
   * is here, and its revisions. See SnapshotOptions.
   */
  putRepo(snapshot: RepoSnapshot, options?: SnapshotOptions): Awaitable<void>
  /** Forgets a repo unless a later version of it than `version` is here; drops the intent in the same transaction. */
  removeRepo(repo: RepoId, version: number, finishedIntent?: string): Awaitable<void>
  findRepo(repo: RepoId): Awaitable<IndexedRepo | undefined>
  /** By digest, or by the 40 digits clients use. */
  findRevision(repo: RepoId, id: Digest | string): Awaitable<IndexedRevision | undefined>
  /** Newest first. */
  listRevisions(repo: RepoId, limit: number): Awaitable<readonly RevisionSummary[]>
  /** By name, `limit` of them after the cursor of the page before. Throws CURSOR_INVALID. */
  listRepos(query: RepoQuery): Awaitable<RepoPage>
  repoNames(): Awaitable<readonly RepoId[]>

  /** Adds the intent, or replaces the one with its id. */
  putIntent(intent: Intent): Awaitable<void>
  dropIntent(id: string): Awaitable<void>
  /** All of them, or those of one repo. */
  listIntents(repo?: RepoId): Awaitable<readonly Intent[]>

  /** Grows with every revision taken in. */
  lastSequence(): Awaitable<number>
  /** Revisions taken in after this sequence number. */
  revisionsSince(sequence: number): Awaitable<readonly IndexedRevision[]>
  close(): Awaitable<void>
}

export interface SnapshotOptions {
  /** Intent that this completes: dropped in the same transaction. */
  readonly finishedIntent?: string
  /** Drop revisions that no ref reaches any more. */
  readonly prune?: boolean
  /** The snapshot holds all there is: whatever is here about the repo is replaced, later versions too. */
  readonly rebuild?: boolean
}

/** A repo as the bucket has it. */
export interface RepoSnapshot {
  readonly repo: RepoId
  readonly type: RepoType
  /** Grows with every change of the repo's document in the bucket. */
  readonly version: number
  readonly created: Date
  readonly refs: readonly IndexedRef[]
  /** At least those that the index lacks, oldest first. */
  readonly revisions: readonly SnapshotRevision[]
}

export interface SnapshotRevision {
  readonly digest: Digest
  readonly manifest: Manifest
  readonly created: Date
}

export interface IndexedRef {
  readonly kind: 'branch' | 'tag'
  readonly name: string
  readonly digest: Digest
  readonly updated: Date
}

export interface IndexedRepo {
  readonly repo: RepoId
  readonly type: RepoType
  readonly version: number
  readonly created: Date
  readonly updated: Date
  readonly refs: readonly IndexedRef[]
}

export interface IndexedRevision extends SnapshotRevision {
  readonly repo: RepoId
}

export interface RevisionSummary {
  readonly revision: string
  readonly digest: Digest
  readonly parent: Digest | null
  readonly created: Date
  /** Bytes of the stored files. */
  readonly size: number
}

export interface RepoQuery {
  readonly type?: RepoType
  /** Part of the name, in any case. */
  readonly search?: string
  /** Repo id that `annotations.base.repo` of the head names. */
  readonly base?: RepoId
  /** `annotations.kind` of the head. */
  readonly kind?: string
  readonly limit?: number
  readonly cursor?: string
}

export interface RepoPage {
  readonly repos: readonly RepoSummary[]
  /** Cursor of the next page, when there is one. */
  readonly next?: string
}

/** A repo in a list: its head is the branch main, or the first branch where there is no main. */
export interface RepoSummary {
  readonly repo: RepoId
  readonly type: RepoType
  readonly revision: string
  readonly digest: Digest
  readonly kind: string | null
  readonly base: string | null
  /** Bytes and number of the stored files of the head. */
  readonly size: number
  readonly files: number
  readonly created: Date
  readonly updated: Date
}

/**
 * Written before the first byte reaches the bucket and dropped with the index update that follows the last: what is
 * left after a crash names the repos to compare with the bucket, and the objects that gc must not touch meanwhile.
 */
export interface Intent {
  readonly id: string
  /** The Registry instance that works on it. */
  readonly owner: string
  readonly repo: RepoId
  /** Blobs and manifests that it writes or relies on. */
  readonly digests: readonly Digest[]
  readonly started: Date
}
