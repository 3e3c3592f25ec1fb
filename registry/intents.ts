/**
 * Publish writes the bucket first and the index last: between the two the index lags. The intent row brackets that
 * window. See docs/decisions/0003-publish-crash-window.md.
 */
import { randomUUID } from 'node:crypto'
import type { Digest } from './digest.ts'
import type { RepoId } from './names.ts'
import { type RegistryParts, syncRepo } from './snapshot.ts'

/** One Registry at work. */
export interface RegistryWork extends RegistryParts {
  /** Tells its intents from those of other processes on the same index. */
  readonly owner: string
  /** Ids of the intents it is working on now. */
  readonly inFlight: Set<string>
  /** Called before and after every step that changes something. */
  readonly onStep: (step: string) => void
}

/** Runs one step between its two names. */
export async function step<T>(work: RegistryWork, name: string, action: () => Promise<T> | T): Promise<T> {
  work.onStep(`before ${name}`)
  const result = await action()
  work.onStep(`after ${name}`)
  return result
}

/**
 * Runs a change of a repo under an intent. The change itself clears the intent with its last transaction; when it
 * fails, the index is compared with the bucket, since the change may have come as far as the bucket.
 */
export async function withIntent<T>(
  work: RegistryWork,
  repo: RepoId,
  digests: readonly Digest[],
  change: (intent: OpenIntent) => Promise<T>,
): Promise<T> {
  const intent = new OpenIntent(work, repo, digests)
  work.inFlight.add(intent.id)
  try {
    await step(work, 'intent', () => intent.save())
    return await change(intent)
  } catch (error) {
    // Best effort: what cannot be settled now is settled by the next read of the repo, or at the next start.
    await syncRepo(work, repo, { finishedIntent: intent.id }).catch(() => undefined)
    throw error
  } finally {
    work.inFlight.delete(intent.id)
  }
}

/** The intent of a change under way. */
export class OpenIntent {
  readonly id = randomUUID()
  readonly #work: RegistryWork
  readonly #repo: RepoId
  readonly #digests: Set<Digest>
  readonly #started = new Date()

  constructor(work: RegistryWork, repo: RepoId, digests: readonly Digest[]) {
    this.#work = work
    this.#repo = repo
    this.#digests = new Set(digests)
  }

  /** Keeps gc from an object that is about to be written or relied on. */
  async protect(digest: Digest): Promise<void> {
    if (this.#digests.has(digest)) return
    this.#digests.add(digest)
    await this.save()
  }

  async save(): Promise<void> {
    const { owner, index } = this.#work
    const digests = [...this.#digests]
    await index.putIntent({ id: this.id, owner, repo: this.#repo, digests, started: this.#started })
  }
}

/** Brings the index up to the bucket for changes of ours that failed half way. Costs one look-up when there are none. */
export async function settleRepo(work: RegistryWork, repo: RepoId): Promise<void> {
  for (const intent of await work.index.listIntents(repo)) {
    // Those of other processes are theirs, or replayed when the server starts.
    if (intent.owner !== work.owner || work.inFlight.has(intent.id)) continue
    await syncRepo(work, intent.repo, { finishedIntent: intent.id })
  }
}

/** At start, before any request: whatever a dead process left half done is looked up in the bucket. */
export async function replayIntents(work: RegistryWork): Promise<number> {
  let replayed = 0
  for (const intent of await work.index.listIntents()) {
    if (work.inFlight.has(intent.id)) continue
    await syncRepo(work, intent.repo, { finishedIntent: intent.id })
    replayed += 1
  }
  return replayed
}
