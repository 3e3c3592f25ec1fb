/** The names that people choose: repo ids, branches and tags, file paths. Checked here, once, before they reach a key. */
import { RegistryError } from './errors.ts'

/** `namespace/name`. */
export type RepoId = string

export interface RepoName {
  readonly namespace: string
  readonly name: string
}

/** Keeps keys within the 255 bytes of a file name and the Hub's own limit of 96. */
const NAME_PART = /^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$/
const REF_SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._-]*$/
const MAX_REF_BYTES = 200
/** A longer path overflows keys, headers and file systems downstream. */
const MAX_PATH_BYTES = 512

/** Splits and checks `namespace/name`. Throws NAME_INVALID. */
export function parseRepoId(id: string): RepoName {
  const [namespace, name, ...rest] = id.split('/')
  if (namespace === undefined || name === undefined || rest.length > 0) {
    throw nameInvalid(id, 'a repo id is "namespace/name"')
  }
  checkNamePart(id, namespace)
  checkNamePart(id, name)
  return { namespace, name }
}

function checkNamePart(id: string, part: string): void {
  if (!NAME_PART.test(part)) {
    throw nameInvalid(id, `"${part}" must be 1 to 96 of A-Z a-z 0-9 . _ - and begin with a letter or digit`)
  }
  if (part.includes('..') || part.includes('--')) throw nameInvalid(id, `"${part}" must not hold ".." or "--"`)
  if (/[.-]$/.test(part) || /\.git$/i.test(part)) throw nameInvalid(id, `"${part}" must not end in ".", "-" or ".git"`)
}

/** Two repos must not differ in case only: this is what they are compared by. */
export function foldRepoId(id: RepoId): string {
  return id.toLowerCase()
}

/** A branch or tag name. Throws NAME_INVALID for what could be taken for a revision, a digest or Git's own refs. */
export function checkRefName(name: string): void {
  if (name.length === 0 || name.length > MAX_REF_BYTES) throw refInvalid(name, `1 to ${MAX_REF_BYTES} characters`)
  for (const segment of name.split('/')) {
    if (!REF_SEGMENT.test(segment))
      throw refInvalid(name, 'segments of A-Z a-z 0-9 . _ - that begin with a letter or digit')
    if (segment.includes('..') || segment.endsWith('.') || segment.endsWith('.lock')) {
      throw refInvalid(name, 'no "..", no "." or ".lock" at the end of a segment')
    }
  }
  if (name === 'HEAD' || name.startsWith('refs/')) throw refInvalid(name, 'HEAD and refs/ are reserved')
  if (/^([0-9a-f]{40}|[0-9a-f]{64})$/i.test(name)) throw refInvalid(name, 'it reads like a revision')
}

/** A file's path inside a revision: relative, `/` between segments. Throws PATH_INVALID. */
export function checkPath(path: string): void {
  if (path.length === 0) throw pathInvalid(path, 'it is empty')
  if (Buffer.byteLength(path, 'utf8') > MAX_PATH_BYTES)
    throw pathInvalid(path, `it is longer than ${MAX_PATH_BYTES} bytes`)
  if (/[\p{Cc}\p{Cs}]/u.test(path)) throw pathInvalid(path, 'it holds control characters or broken Unicode')
  if (path.includes('\\')) throw pathInvalid(path, 'it holds a backslash; separate folders with "/"')
  for (const segment of path.split('/')) {
    if (segment === '') throw pathInvalid(path, 'it begins or ends with "/" or holds "//"; paths are relative')
    if (segment === '.' || segment === '..') throw pathInvalid(path, 'it holds a "." or ".." segment')
    // A pulled revision must not be able to plant hooks in a Git folder.
    if (segment.toLowerCase() === '.git') throw pathInvalid(path, 'it holds a ".git" segment')
  }
}

function nameInvalid(id: string, why: string): RegistryError {
  return new RegistryError('NAME_INVALID', `repo id "${shorten(id)}": ${why}`, { repo: shorten(id) })
}

function refInvalid(name: string, why: string): RegistryError {
  return new RegistryError('NAME_INVALID', `ref name "${shorten(name)}": ${why}`, { ref: shorten(name) })
}

function pathInvalid(path: string, why: string): RegistryError {
  return new RegistryError('PATH_INVALID', `path ${JSON.stringify(shorten(path))}: ${why}`, { path: shorten(path) })
}

/** Names come from requests: an error must not repeat a megabyte of them. */
function shorten(text: string): string {
  return text.length > 120 ? `${text.slice(0, 120)}...` : text
}
