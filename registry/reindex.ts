/** Rebuilds the index from the bucket alone: after the index was lost, or the bucket was restored from a backup. */
import { repoDocuments } from './documents.ts'
import { RegistryError } from './errors.ts'
import { foldRepoId, type RepoId } from './names.ts'
import { type RepoDocument, readRepo } from './repo-document.ts'
import { type RegistryParts, takeSnapshot } from './snapshot.ts'

export interface ReindexOptions {
  readonly signal?: AbortSignal
  readonly onRepo?: (repo: RepoId) => void
}

export interface ReindexReport {
  readonly repos: number
  readonly revisions: number
  /** Repos that the index had and the bucket has not. */
  readonly removed: readonly RepoId[]
  /** What could not be read; the rest is indexed all the same. */
  readonly problems: readonly ReindexProblem[]
}

export interface ReindexProblem {
  /** Key of the repo's document, or digest of the manifest. */
  readonly where: string
  readonly message: string
}

/** Tries at one repo that keeps changing while it is read. */
const MAX_TRIES = 5

/** Safe while the server runs: a repo that changes meanwhile is read again. */
export async function reindex(parts: RegistryParts, options: ReindexOptions = {}): Promise<ReindexReport> {
  const problems: ReindexProblem[] = []
  const seen = new Set<string>()
  let revisions = 0
  for await (const found of repoDocuments(parts.store, [], options.signal)) {
    if ('error' in found) {
      problems.push({ where: found.key, message: found.error.message })
      continue
    }
    options.onRepo?.(found.document.repo)
    seen.add(foldRepoId(found.document.repo))
    revisions += await rebuildRepo(parts, found.document, problems)
  }
  const removed = await removeOthers(parts, seen, problems)
  return { repos: seen.size, revisions, removed, problems }
}

async function rebuildRepo(parts: RegistryParts, first: RepoDocument, problems: ReindexProblem[]): Promise<number> {
  let document = first
  for (let tries = 1; ; tries += 1) {
    const { snapshot, broken } = await takeSnapshot(parts.store, document)
    await parts.index.putRepo(snapshot, { rebuild: true })
    const now = (await readRepo(parts.store, document.repo))?.document
    if (now === undefined || now.version === document.version || tries === MAX_TRIES) {
      problems.push(...broken.map(({ digest, error }) => ({ where: digest, message: error.message })))
      return snapshot.revisions.length
    }
    document = now
  }
}

async function removeOthers(parts: RegistryParts, seen: ReadonlySet<string>, problems: ReindexProblem[]) {
  const removed: RepoId[] = []
  for (const repo of await parts.index.repoNames()) {
    if (seen.has(foldRepoId(repo))) continue
    const version = (await parts.index.findRepo(repo))?.version ?? 0
    if (await isGone(parts, repo, problems)) {
      await parts.index.removeRepo(repo, version)
      removed.push(repo)
    }
  }
  return removed
}

/** A repo published since the listing is not gone, nor is one whose document is damaged. */
async function isGone(parts: RegistryParts, repo: RepoId, problems: ReindexProblem[]): Promise<boolean> {
  try {
    return (await readRepo(parts.store, repo)) === undefined
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error
    problems.push({ where: repo, message: error.message })
    return false
  }
}
