/** A revision of a repo, its one spelling as bytes, and the strict way back. */
import { canonicalBytes, isPlainObject } from './canonical-json.ts'
import { type Digest, isDigest, sha256 } from './digest.ts'
import { RegistryError } from './errors.ts'
import { checkPath, parseRepoId } from './names.ts'
import { compareUtf8 } from './order.ts'

/**
 * One revision of a repo. Canonical JSON (sorted keys, no spaces, UTF-8) whose sha256 is its digest; the revision that
 * clients see is the first 40 hex digits of it. No time and no author inside: publishing the same thing twice is one
 * revision.
 */
export interface Manifest {
  readonly schema: 1
  readonly repo: string
  readonly type: RepoType
  /** Digest of the manifest before this one on its branch. */
  readonly parent: Digest | null
  /** Stored files, sorted by path. */
  readonly files: readonly ManifestFile[]
  /** Files made on request from stored ones; size and digest are fixed at publish. Sorted by path. */
  readonly derived: readonly ManifestFile[]
  /** What the registry does not look into: kind, base, container header, report. JSON values only. */
  readonly annotations: Readonly<Record<string, unknown>>
}

export type RepoType = 'base' | 'expert'

export interface ManifestFile {
  readonly path: string
  readonly digest: Digest
  readonly size: number
  readonly media_type: string
}

/** A manifest is held in memory by whoever resolves it: the bound stops one that would fill it. */
export const MAX_MANIFEST_BYTES = 16 * 1024 * 1024
export const MAX_FILES = 10_000
const MAX_MEDIA_TYPE = 128

export function isRepoType(value: unknown): value is RepoType {
  return value === 'base' || value === 'expert'
}

/** Sorts the files and gives the one spelling of the manifest. Throws MANIFEST_INVALID, LIMIT_EXCEEDED. */
export function encodeManifest(manifest: Manifest): { bytes: Uint8Array; digest: Digest } {
  const bytes = canonicalBytes({
    ...manifest,
    files: [...manifest.files].sort(byPath),
    derived: [...manifest.derived].sort(byPath),
  })
  if (bytes.byteLength > MAX_MANIFEST_BYTES) {
    const detail = { bytes: bytes.byteLength, limit: MAX_MANIFEST_BYTES }
    throw new RegistryError(
      'LIMIT_EXCEEDED',
      `the manifest would take ${detail.bytes} bytes of ${detail.limit}`,
      detail,
    )
  }
  return { bytes, digest: sha256(bytes) }
}

/** The way back. Accepts exactly what encodeManifest writes; anything else is MANIFEST_INVALID. */
export function parseManifest(bytes: Uint8Array): Manifest {
  if (bytes.byteLength > MAX_MANIFEST_BYTES) throw invalid(`${bytes.byteLength} bytes, more than ${MAX_MANIFEST_BYTES}`)
  const manifest = checkManifest(parseJson(bytes))
  // One spelling only: also refuses duplicate keys, unknown escapes and unsorted files.
  if (Buffer.compare(encodeManifest(manifest).bytes, bytes) !== 0) throw invalid('it is not in canonical form')
  return manifest
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch (cause) {
    throw new RegistryError('MANIFEST_INVALID', 'the manifest is not JSON in UTF-8', {}, { cause })
  }
}

const FIELDS = ['annotations', 'derived', 'files', 'parent', 'repo', 'schema', 'type']

/** Checks every field and returns the value typed. Throws MANIFEST_INVALID, NAME_INVALID, PATH_INVALID. */
export function checkManifest(value: unknown): Manifest {
  if (!isPlainObject(value)) throw invalid('it is not an object')
  const extra = Object.keys(value).find((key) => !FIELDS.includes(key))
  if (extra !== undefined) throw invalid(`unknown field "${extra.slice(0, 100)}"`)
  const { schema, repo, type, parent, annotations } = value
  if (schema !== 1) throw invalid(`schema ${JSON.stringify(schema)} is not one this version reads (1)`)
  if (typeof repo !== 'string') throw invalid('repo is not a string')
  parseRepoId(repo)
  if (!isRepoType(type)) throw invalid(`type ${JSON.stringify(type)} is neither "base" nor "expert"`)
  if (parent !== null && !isDigest(parent)) throw invalid('parent is neither null nor a digest')
  if (!isPlainObject(annotations)) throw invalid('annotations is not an object')
  const files = checkFiles(value['files'], 'files')
  const derived = checkFiles(value['derived'], 'derived')
  checkTogether([...files, ...derived])
  return { schema, repo, type, parent, files, derived, annotations }
}

function checkFiles(value: unknown, field: string): ManifestFile[] {
  if (!Array.isArray(value)) throw invalid(`${field} is not an array`)
  if (value.length > MAX_FILES) {
    const detail = { files: value.length, limit: MAX_FILES }
    throw new RegistryError('LIMIT_EXCEEDED', `${value.length} ${field} in one revision, at most ${MAX_FILES}`, detail)
  }
  return value.map((file, i) => checkFile(file, `${field}[${i}]`))
}

function checkFile(value: unknown, where: string): ManifestFile {
  if (!isPlainObject(value)) throw invalid(`${where} is not an object`)
  const { path, digest, size, media_type, ...rest } = value
  const extra = Object.keys(rest)[0]
  if (extra !== undefined) throw invalid(`${where} has the unknown field "${extra.slice(0, 100)}"`)
  if (typeof path !== 'string') throw invalid(`${where}.path is not a string`)
  checkPath(path)
  if (!isDigest(digest)) throw invalid(`${where}.digest is not "sha256:" and 64 hex digits`)
  if (!Number.isSafeInteger(size) || (size as number) < 0) throw invalid(`${where}.size ${size} is not a byte count`)
  if (
    typeof media_type !== 'string' ||
    media_type.length > MAX_MEDIA_TYPE ||
    !/^[\x21-\x7e]+\/[\x20-\x7e]+$/.test(media_type)
  ) {
    throw invalid(`${where}.media_type is not a media type`)
  }
  return { path, digest, size: size as number, media_type }
}

/** No path twice, and none that would be both a file and a folder once pulled to disk. */
function checkTogether(files: readonly ManifestFile[]): void {
  const paths = new Set<string>()
  for (const { path } of files) {
    if (paths.has(path)) throw new RegistryError('PATH_INVALID', `path "${path}" occurs twice`, { path })
    paths.add(path)
  }
  for (const path of paths) {
    for (let cut = path.indexOf('/'); cut !== -1; cut = path.indexOf('/', cut + 1)) {
      const folder = path.slice(0, cut)
      if (!paths.has(folder)) continue
      throw new RegistryError('PATH_INVALID', `"${folder}" is a file and the folder of "${path}"`, { path, folder })
    }
  }
}

/** The stored or derived file at a path. Throws ENTRY_NOT_FOUND. */
export function findFile(manifest: Manifest, path: string): { file: ManifestFile; derived: boolean } {
  const stored = manifest.files.find((file) => file.path === path)
  if (stored !== undefined) return { file: stored, derived: false }
  const derived = manifest.derived.find((file) => file.path === path)
  if (derived !== undefined) return { file: derived, derived: true }
  const shown = path.slice(0, 200)
  throw new RegistryError('ENTRY_NOT_FOUND', `${manifest.repo} has no file "${shown}"`, {
    repo: manifest.repo,
    path: shown,
  })
}

function byPath(a: ManifestFile, b: ManifestFile): number {
  return compareUtf8(a.path, b.path)
}

function invalid(why: string): RegistryError {
  return new RegistryError('MANIFEST_INVALID', `manifest: ${why}`)
}
