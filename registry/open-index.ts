/** From the index URL of the configuration to an index. */
import { RegistryError } from './errors.ts'
import type { RegistryIndex } from './index.ts'
import { openSqliteIndex } from './index-sqlite.ts'

/** `sqlite:<path>` (its folder must exist) | `sqlite::memory:`. Throws URL_INVALID, INDEX_UNAVAILABLE. */
export async function openIndex(url: string): Promise<RegistryIndex> {
  const path = url.startsWith('sqlite:') ? url.slice('sqlite:'.length).replace(/^\/\/(?=\/)/, '') : ''
  if (path !== '') return openSqliteIndex(path)
  const scheme = url.slice(0, url.indexOf(':') + 1)
  throw new RegistryError('URL_INVALID', `index URL "${scheme}...": it must read sqlite:<path> or sqlite::memory:`, {
    scheme,
  })
}
