/** The composition root: the one place where a configuration becomes running parts. */
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import pino from 'pino'
import { workerPool } from '../compress/node/worker-pool.ts'
import { openIndex } from '../registry/open-index.ts'
import { openStore } from '../registry/open-store.ts'
import { Registry } from '../registry/registry.ts'
import type { Config } from './config.ts'
import { BlobCache } from './service/blob-cache.ts'
import { composeServices } from './service/compose.ts'
import { JobStore } from './service/job-store.ts'
import type { Log } from './service/log.ts'
import { Results } from './service/results.ts'
import type { Services } from './service/services.ts'
import { SpoolRoot } from './service/spool.ts'

export interface Wired {
  readonly services: Services
  /** No new jobs; running ones may finish until `deadline` aborts, then they are aborted. */
  drain(deadline: AbortSignal): Promise<void>
  /** Waits for spools in use to be deleted, until `deadline` aborts; then closes everything. Call it last. */
  close(deadline: AbortSignal): Promise<void>
}

/** Lowest first: each thing that was opened is closed again when a later one cannot be opened. */
export async function wire(config: Config, log: Log = createLog(config.logLevel)): Promise<Wired> {
  const closers: (() => unknown)[] = []
  const closeAll = async () => {
    for (const close of closers.reverse()) await close()
  }
  try {
    return await build(config, log, closers, closeAll)
  } catch (error) {
    await closeAll()
    throw error
  }
}

async function build(
  config: Config,
  log: Log,
  closers: (() => unknown)[],
  closeAll: () => Promise<void>,
): Promise<Wired> {
  const { spoolDir } = config
  await mkdir(spoolDir, { recursive: true })
  // First of all: its lock says that the folder, and all that lies in it, is ours.
  const jobStore = JobStore.open(join(spoolDir, 'jobs.db'))
  closers.push(() => jobStore.close())
  const spools = await SpoolRoot.open(join(spoolDir, 'uploads'))
  closers.push(() => spools.close())
  const store = await openStore(config.storeUrl)
  await makeIndexFolder(config.indexUrl)
  const index = await openIndex(config.indexUrl)
  closers.push(() => index.close())
  const registry = new Registry({ store, index })
  const replayed = await registry.replayIntents()
  if (replayed > 0) log.warn({ intents: replayed }, 'the last run ended in the middle of changes; they are settled')
  const executor = workerPool(config.workers)
  closers.push(() => executor.close())
  const services = composeServices({
    ...config,
    log,
    registry,
    executor,
    spools,
    cache: await BlobCache.open(join(spoolDir, 'blobs'), config.cacheBytes, registry),
    results: await Results.open(join(spoolDir, 'results'), config.cacheBytes),
    jobStore,
    parallelUploads: config.workers,
  })
  return {
    services,
    drain: (deadline) => services.jobs.stop(deadline),
    async close(deadline) {
      await settled(spools.idle(), deadline)
      await closeAll()
    },
  }
}

export function createLog(level: string): Log {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime })
}

async function makeIndexFolder(url: string): Promise<void> {
  const path = url.replace(/^sqlite:(?:\/\/(?=\/))?/, '')
  if (path !== ':memory:') await mkdir(dirname(path), { recursive: true })
}

/** Waits for `work` while there is time. */
async function settled(work: Promise<void>, deadline: AbortSignal): Promise<void> {
  if (deadline.aborted) return
  await Promise.race([work, new Promise<void>((resolve) => deadline.addEventListener('abort', () => resolve()))])
}
