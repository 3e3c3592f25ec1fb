/**
 * The bucket, drawn once:
 *
 *     blobs/sha256/<2 hex>/<64 hex>          a stored file, by content
 *     manifests/sha256/<2 hex>/<64 hex>      a revision: canonical JSON, by content
 *     repos/<namespace>/<name>.json          a repo: its type, branches and tags; the only objects that ever change
 *     probe/<uuid>                           a short-lived object of the store check
 *
 * Every kind has one depth, so no key is a path prefix of another (stores on a file system answer that with 409).
 * Namespace and name stand in lower case: repos that differ only in case meet at one key, and the first one has it.
 */
import { type Digest, digestHex, isDigest } from './digest.ts'
import { RegistryError } from './errors.ts'
import { foldRepoId, parseRepoId, type RepoId } from './names.ts'

export const BLOBS = 'blobs/'
export const MANIFESTS = 'manifests/'
export const REPOS = 'repos/'
export const PROBE = 'probe/'

/** S3 allows 1024 bytes; the rest is left to the prefix of the store's URL. */
const MAX_KEY_BYTES = 800
/** File systems allow 255 bytes a name. */
const MAX_SEGMENT_BYTES = 240

export function blobKey(digest: Digest): string {
  return BLOBS + contentPath(digest)
}

export function manifestKey(digest: Digest): string {
  return MANIFESTS + contentPath(digest)
}

export function repoKey(repo: RepoId): string {
  parseRepoId(repo)
  return `${REPOS}${foldRepoId(repo)}.json`
}

/** The digest in a key under blobs/ or manifests/, or undefined when the key is none of ours. */
export function digestOfKey(key: string): Digest | undefined {
  const hex = key.slice(key.lastIndexOf('/') + 1)
  const digest = `sha256:${hex}`
  if (!isDigest(digest)) return undefined
  return key === blobKey(digest) || key === manifestKey(digest) ? digest : undefined
}

/** What every store accepts as a key: safe as a path below a folder and as an S3 key. Throws PATH_INVALID. */
export function checkKey(key: string): void {
  const segments = key.split('/')
  const fits =
    Buffer.byteLength(key) <= MAX_KEY_BYTES &&
    !/[\p{Cc}\p{Cs}\\]/u.test(key) &&
    segments.every((s) => s !== '' && !s.startsWith('.') && Buffer.byteLength(s) <= MAX_SEGMENT_BYTES)
  if (!fits)
    throw new RegistryError('PATH_INVALID', `key ${JSON.stringify(key.slice(0, 120))} cannot be stored`, { key })
}

function contentPath(digest: Digest): string {
  const hex = digestHex(digest)
  return `sha256/${hex.slice(0, 2)}/${hex}`
}
