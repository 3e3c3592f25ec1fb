/** Everything the http edge calls. Built in wire.ts, or by a test. */
import type { Registry } from '../../registry/registry.ts'
import type { Fetch } from './fetch.ts'
import type { Ingest } from './ingest.ts'
import type { Jobs } from './jobs.ts'
import type { Log } from './log.ts'
import type { Merges } from './merges.ts'

export interface Services {
  readonly log: Log
  readonly registry: Registry
  readonly ingest: Ingest
  readonly fetch: Fetch
  readonly merges: Merges
  readonly jobs: Jobs
  readonly adminToken: string | undefined
  readonly maxUploadBytes: number
  readonly redirectDownloads: boolean
  /** Resolves when the store and the index answer. */
  ready(): Promise<void>
}
