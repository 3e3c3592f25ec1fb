/** Walks every repo of the bucket: what gc marks from, reindex rebuilds from and verify checks. */
import type { BlobStore } from './blob-store.ts'
import { RegistryError } from './errors.ts'
import { REPOS, repoKey } from './keys.ts'
import { type RepoDocument, readRepo } from './repo-document.ts'

/** A repo's document, or why the object at this key is none. */
export type FoundDocument =
  | { readonly key: string; readonly document: RepoDocument }
  | { readonly key: string; readonly error: RegistryError }

/**
 * Every object under repos/, and the repos named in `also` (in lower case or not) that the listing did not show:
 * listing is the one operation whose gaps would go unseen.
 */
export async function* repoDocuments(
  store: BlobStore,
  also: Iterable<string> = [],
  signal?: AbortSignal,
): AsyncGenerator<FoundDocument> {
  const keys = new Set<string>()
  for await (const { key } of store.list(REPOS)) keys.add(key)
  for (const repo of also) keys.add(repoKey(repo))
  for (const key of keys) {
    signal?.throwIfAborted()
    const found = await readDocument(store, key)
    if (found !== undefined) yield found
  }
}

async function readDocument(store: BlobStore, key: string): Promise<FoundDocument | undefined> {
  const id = key.slice(REPOS.length).replace(/\.json$/, '')
  try {
    if (repoKey(id) !== key) throw new RegistryError('MANIFEST_INVALID', `${key} is not the key of a repo`, { key })
    const found = await readRepo(store, id)
    if (found === undefined) return undefined
    const { document } = found
    if (repoKey(document.repo) === key) return { key, document }
    throw new RegistryError('MANIFEST_INVALID', `${key} holds the document of ${document.repo}`, { key })
  } catch (error) {
    if (error instanceof RegistryError && error.code !== 'STORE_UNAVAILABLE') return { key, error }
    throw error
  }
}
