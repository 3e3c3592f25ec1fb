/** The registry on each store: memory, a folder with an index file, and S3. */
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { BlobStore } from '../../registry/blob-store.ts'
import { openIndex } from '../../registry/open-index.ts'
import { openStore } from '../../registry/open-store.ts'
import { registrySuite } from './registry.suite.ts'
import type { Parts } from './registry-parts.ts'
import { registryUpkeepSuite } from './registry-upkeep.suite.ts'
import { s3Endpoint, s3Required, s3Store } from './s3-server.ts'
import { tempFolder } from './temp-folder.ts'

async function parts(store: BlobStore, indexUrl: string): Promise<Parts> {
  const index = await openIndex(indexUrl)
  onTestFinished(() => void index.close())
  return { store, index }
}

const inMemory = async () => parts(await openStore('memory:'), 'sqlite::memory:')
const inFolder = async () => {
  const folder = await tempFolder()
  return parts(await openStore(`file:${join(folder, 'data')}`), `sqlite:${join(folder, 'index.db')}`)
}
const onS3 = async () => parts(await s3Store(), 'sqlite::memory:')

for (const suite of [registrySuite, registryUpkeepSuite]) {
  suite('memory', inMemory)
  suite('a folder', inFolder)
}

test.runIf(s3Required)('on CI there is an S3 server to test against (scripts/with-s3.sh)', () => {
  expect(s3Endpoint, 'S3_ENDPOINT is not set').toBeDefined()
})

describe.skipIf(s3Endpoint === undefined)('with the S3 server of S3_ENDPOINT', () => {
  for (const suite of [registrySuite, registryUpkeepSuite]) suite('S3', onS3)
})
