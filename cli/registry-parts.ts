/** The store and index that `tern serve` would use, opened without a server: for gc, reindex and verify. */
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { openIndex } from '../registry/open-index.ts'
import { openStore } from '../registry/open-store.ts'
import type { RegistryParts } from '../registry/snapshot.ts'
import { readConfig } from '../server/config.ts'
import type { Run } from './context.ts'
import { CliError } from './errors.ts'

/** `create`: reindex may begin with an empty index; the others would then report everything as missing from it. */
export async function withRegistry<T>(
  run: Run,
  create: boolean,
  use: (parts: RegistryParts) => Promise<T>,
): Promise<T> {
  const { storeUrl, indexUrl } = readConfig(run.env)
  const path = indexUrl.slice('sqlite:'.length).replace(/^\/\/(?=\/)/, '')
  if (path !== ':memory:' && !existsSync(path)) {
    if (!create) {
      const message = `no index ${path}: is TERN_STORE_URL the right one? If the index was lost, "tern reindex" rebuilds it`
      throw new CliError('INPUT_NOT_FOUND', message, { path })
    }
    await mkdir(dirname(path), { recursive: true })
  }
  const store = await openStore(storeUrl)
  const index = await openIndex(indexUrl)
  try {
    return await use({ store, index })
  } finally {
    await index.close()
  }
}
