/** Builds the services from their parts: the same way in the server and in a test. */
import type { Executor } from '../../compress/executor.ts'
import type { Registry } from '../../registry/registry.ts'
import type { BlobCache } from './blob-cache.ts'
import { ServerError } from './errors.ts'
import { Fetch } from './fetch.ts'
import { Gate } from './gate.ts'
import { Ingest } from './ingest.ts'
import type { JobStore } from './job-store.ts'
import { Jobs } from './jobs.ts'
import type { Log } from './log.ts'
import { Merges } from './merges.ts'
import { Models } from './models.ts'
import type { Results } from './results.ts'
import type { Services } from './services.ts'
import type { SpoolRoot } from './spool.ts'

export interface Parts {
  readonly log: Log
  readonly registry: Registry
  readonly executor: Executor
  readonly spools: SpoolRoot
  readonly cache: BlobCache
  readonly results: Results
  readonly jobStore: JobStore
  readonly parallelJobs: number
  /** Uploads that are compressed at once; others wait with their bytes on disk. */
  readonly parallelUploads: number
  readonly adminToken: string | undefined
  readonly maxUploadBytes: number
  readonly redirectDownloads: boolean
}

export function composeServices(parts: Parts): Services {
  const { log, registry, executor, spools, cache, results } = parts
  const jobs = new Jobs({ store: parts.jobStore, log, parallel: parts.parallelJobs })
  const models = new Models({ registry, cache, spools })
  const ingest = new Ingest({ registry, spools, models, executor, gate: new Gate(parts.parallelUploads) })
  return {
    log,
    registry,
    ingest,
    jobs,
    fetch: new Fetch({ registry, models }),
    merges: new Merges({ registry, models, ingest, jobs, results, spools }),
    adminToken: parts.adminToken,
    maxUploadBytes: parts.maxUploadBytes,
    redirectDownloads: parts.redirectDownloads,
    async ready() {
      if (jobs.stopping) throw new ServerError('STOPPING', 'the server is shutting down')
      await registry.listRepos({ limit: 1 })
      await registry.store.stat('probe/ready')
    },
  }
}
