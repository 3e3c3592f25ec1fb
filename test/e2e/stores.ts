/** The stores that the end-to-end tests run on: a folder always, a real S3 server where with-s3.sh started one. */
import { join } from 'node:path'
import { s3Endpoint, s3Url } from '../contract/s3-server.ts'

export interface StoreCase {
  readonly name: string
  /** Not at hand: shown as skipped (test/contract/blob-store-s3.test.ts fails on CI then). */
  readonly missing: boolean
  /** Environment of a server whose store, index and spool are new and its own. */
  env(folder: string): Record<string, string>
}

const local = (folder: string) => ({
  TERN_INDEX_URL: `sqlite:${join(folder, 'index.db')}`,
  TERN_SPOOL_DIR: join(folder, 'spool'),
  TERN_LOG_LEVEL: 'info',
})

export const stores: readonly StoreCase[] = [
  {
    name: 'a folder',
    missing: false,
    env: (folder) => ({ TERN_STORE_URL: `file:${join(folder, 'store')}`, ...local(folder) }),
  },
  {
    name: 'a real S3 server',
    missing: s3Endpoint === undefined,
    env: (folder) => ({ TERN_STORE_URL: s3Url(), ...local(folder) }),
  },
]
