/** `ns/name[@rev]` on the command line, as in mergekit's references, and the paths it stands for in the API. */
import { CliError } from './errors.ts'

export interface RepoRef {
  readonly repo: string
  /** Branch, tag or revision; `main` where none was given. */
  readonly ref: string
}

export type RepoType = 'experts' | 'bases'

/** Only the shape: which names are allowed is for the server to say. Throws USAGE_INVALID. */
export function parseRepoRef(text: string): RepoRef {
  const match = /^([^/@\s]+\/[^/@\s]+)(?:@([^@\s]+))?$/.exec(text)
  if (!match) {
    throw new CliError('USAGE_INVALID', `"${text}" is not of the form namespace/name or namespace/name@revision`, {
      text,
    })
  }
  return { repo: match[1] ?? '', ref: match[2] ?? 'main' }
}

export function looksLikeRepo(text: string): boolean {
  return /^[^/@\s.][^/@\s]*\/[^/@\s]+(@[^@\s]+)?$/.test(text) && !/\.(tern|safetensors)$/.test(text)
}

export function repoPath(type: RepoType, repo: string): string {
  return `/v1/${type}/${repo.split('/').map(encodeURIComponent).join('/')}`
}

/** A branch may hold slashes; the API takes it as one segment. */
export function revisionPath(type: RepoType, { repo, ref }: RepoRef): string {
  return `${repoPath(type, repo)}/revisions/${encodeURIComponent(ref)}`
}

export function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}
