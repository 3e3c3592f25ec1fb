/**
 * Garbage collection: mark what the refs reach (with their history), sweep the rest once it is old enough.
 *
 * A publish under way is safe three ways: what it wrote is younger than the grace period; what it found there already
 * is named by its intent, which is looked at again right before anything is deleted; and it checks what it found there
 * once more when its ref stands. A bucket that cannot be read whole is not swept at all.
 */
import type { BlobStat } from './blob-store.ts'
import { forEachOf } from './concurrency.ts'
import type { Digest } from './digest.ts'
import { repoDocuments } from './documents.ts'
import { RegistryError } from './errors.ts'
import type { SnapshotRevision } from './index.ts'
import { BLOBS, digestOfKey, MANIFESTS, PROBE } from './keys.ts'
import { type RegistryParts, syncRepo, takeSnapshot } from './snapshot.ts'

export interface GcOptions {
  /** Default true: count, delete nothing. */
  readonly dryRun?: boolean
  /** Unreachable objects younger than this stay. Default a day. */
  readonly graceSeconds?: number
  /**
   * Temp files and open uploads younger than this stay. Default a day; while a publish is under way, never less: they
   * may be its own.
   */
  readonly unfinishedSeconds?: number
  readonly signal?: AbortSignal
}

export interface Tally {
  readonly count: number
  readonly bytes: number
}

export interface GcReport {
  readonly dryRun: boolean
  /** Deleted, or to be deleted in a dry run. */
  readonly blobs: Tally
  readonly manifests: Tally
  readonly keys: readonly string[]
  /** Reached by a ref. */
  readonly kept: Tally
  /** Unreachable, but too young or named by a publish under way. */
  readonly spared: Tally
  /** Temp files and open uploads. */
  readonly unfinished: readonly string[]
  /** Intents of publishes that died. */
  readonly intents: number
}

const DAY_SECONDS = 86_400
const DELETES_AT_ONCE = 8
/** Deletions between two looks at the publishes under way. */
const BATCH = 64

/** Throws MANIFEST_INVALID, having deleted nothing, when something that refs reach cannot be read. */
export async function collectGarbage(parts: RegistryParts, options: GcOptions = {}): Promise<GcReport> {
  const dryRun = options.dryRun ?? true
  const now = Date.now()
  const intents = await expireIntents(parts, new Date(now - DAY_SECONDS * 1000), dryRun)
  const sequence = await parts.index.lastSequence()
  const live = await mark(parts, options.signal)
  const cutoff = new Date(now - (options.graceSeconds ?? DAY_SECONDS) * 1000)
  const found = await findUnreachable(parts, live, cutoff, options.signal)
  const swept = await sweep(parts, found.candidates, sequence, dryRun, options.signal)
  const unfinished = await parts.store.unfinished(await unfinishedBefore(parts, now, options), !dryRun)
  return {
    dryRun,
    blobs: tally(swept.filter((stat) => stat.key.startsWith(BLOBS))),
    manifests: tally(swept.filter((stat) => stat.key.startsWith(MANIFESTS))),
    keys: swept.map((stat) => stat.key),
    kept: found.kept,
    spared: sparedOf(found.young, tally(found.candidates), tally(swept)),
    unfinished,
    intents,
  }
}

/** Intents that nobody works on any more: compared with the bucket, then dropped. */
async function expireIntents(parts: RegistryParts, before: Date, dryRun: boolean): Promise<number> {
  const expired = (await parts.index.listIntents()).filter((intent) => intent.started < before)
  if (!dryRun) for (const { id, repo } of expired) await syncRepo(parts, repo, { finishedIntent: id })
  return expired.length
}

/** Whatever writes to the store does so under an intent: without one, what is older than now is nobody's. */
async function unfinishedBefore(parts: RegistryParts, now: number, options: GcOptions): Promise<Date> {
  const seconds = options.unfinishedSeconds ?? DAY_SECONDS
  const busy = (await parts.index.listIntents()).length > 0
  return new Date(now - (busy ? Math.max(seconds, DAY_SECONDS) : seconds) * 1000)
}

/** Digests of all manifests and blobs that refs reach. */
async function mark(parts: RegistryParts, signal: AbortSignal | undefined): Promise<Set<Digest>> {
  const live = new Set<Digest>()
  for await (const found of repoDocuments(parts.store, await parts.index.repoNames(), signal)) {
    if ('error' in found) throw unreadable(found.key, found.error)
    const { snapshot, broken } = await takeSnapshot(parts.store, found.document)
    if (broken[0] !== undefined) throw unreadable(found.document.repo, broken[0].error)
    for (const revision of snapshot.revisions) markRevision(live, revision)
  }
  return live
}

function markRevision(live: Set<Digest>, { digest, manifest }: SnapshotRevision): void {
  live.add(digest)
  for (const file of manifest.files) live.add(file.digest)
}

function unreadable(what: string, cause: RegistryError): RegistryError {
  const message = `nothing was deleted, since ${what} cannot be read (${cause.message}): repair what verify reports first`
  return new RegistryError('MANIFEST_INVALID', message, { ...cause.detail }, { cause })
}

async function findUnreachable(
  parts: RegistryParts,
  live: ReadonlySet<Digest>,
  cutoff: Date,
  signal: AbortSignal | undefined,
): Promise<{ candidates: BlobStat[]; kept: Tally; young: Tally }> {
  const candidates: BlobStat[] = []
  const kept = { count: 0, bytes: 0 }
  const young = { count: 0, bytes: 0 }
  for (const prefix of [BLOBS, MANIFESTS, PROBE]) {
    for await (const stat of parts.store.list(prefix)) {
      signal?.throwIfAborted()
      const digest = digestOfKey(stat.key)
      // What is not ours to name is not ours to delete.
      if (digest === undefined && prefix !== PROBE) continue
      if (digest !== undefined && live.has(digest)) addTo(kept, stat)
      else if (stat.modified >= cutoff) addTo(young, stat)
      else candidates.push(stat)
    }
  }
  return { candidates, kept, young }
}

/** Answers what was deleted, or would be. */
async function sweep(
  parts: RegistryParts,
  candidates: readonly BlobStat[],
  sequence: number,
  dryRun: boolean,
  signal: AbortSignal | undefined,
): Promise<BlobStat[]> {
  const swept: BlobStat[] = []
  for (let at = 0; at < candidates.length; at += BATCH) {
    const claimed = await claimedSince(parts, sequence)
    const batch = candidates.slice(at, at + BATCH).filter((stat) => {
      const digest = digestOfKey(stat.key)
      return digest === undefined || !claimed.has(digest)
    })
    swept.push(...batch)
    if (!dryRun) await forEachOf(batch, DELETES_AT_ONCE, (stat) => parts.store.delete(stat.key), signal)
  }
  return swept
}

/** What publishes under way rely on, and what those that ended since the mark made reachable. */
async function claimedSince(parts: RegistryParts, sequence: number): Promise<Set<Digest>> {
  const claimed = new Set<Digest>()
  // Intents first: a publish that ends in between is then among the revisions.
  for (const intent of await parts.index.listIntents()) for (const digest of intent.digests) claimed.add(digest)
  for (const revision of await parts.index.revisionsSince(sequence)) markRevision(claimed, revision)
  return claimed
}

function addTo(tally: { count: number; bytes: number }, stat: BlobStat): void {
  tally.count += 1
  tally.bytes += stat.size
}

function tally(stats: readonly BlobStat[]): Tally {
  return { count: stats.length, bytes: stats.reduce((sum, stat) => sum + stat.size, 0) }
}

function sparedOf(young: Tally, candidates: Tally, swept: Tally): Tally {
  return {
    count: young.count + candidates.count - swept.count,
    bytes: young.bytes + candidates.bytes - swept.bytes,
  }
}
