import type { Digest } from './digest.ts'

/**
 * One revision of a repo. Canonical JSON (sorted keys, no spaces, UTF-8) whose sha256 is its digest; the revision that
 * clients see is the first 40 hex digits of it. No time and no author inside: publishing the same thing twice is one
 * revision.
 */
export interface Manifest {
  readonly schema: 1
  readonly repo: string
  readonly type: RepoType
  /** Digest of the manifest before this one on its branch. */
  readonly parent: Digest | null
  /** Stored files, sorted by path. */
  readonly files: readonly ManifestFile[]
  /** Files made on request from stored ones; size and digest are fixed at publish. Sorted by path. */
  readonly derived: readonly ManifestFile[]
  /** What the registry does not look into: kind, base, container header, report. JSON values only. */
  readonly annotations: Readonly<Record<string, unknown>>
}

export type RepoType = 'base' | 'expert'

export interface ManifestFile {
  readonly path: string
  readonly digest: Digest
  readonly size: number
  readonly media_type: string
}
