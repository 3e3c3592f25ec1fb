import { RegistryError } from '../../registry/errors.ts'
import type { RepoType } from '../../registry/manifest.ts'

/** A base is no expert: under the other type's path a repo does not exist. Throws REPO_NOT_FOUND. */
export function requireType<T extends { readonly repo: string; readonly type: RepoType }>(
  found: T,
  wanted: RepoType,
): T {
  if (found.type === wanted) return found
  const path = found.type === 'base' ? '/v1/bases' : '/v1/experts'
  throw new RegistryError('REPO_NOT_FOUND', `there is no ${wanted} ${found.repo}; see ${path}/${found.repo}`, {
    repo: found.repo,
    type: found.type,
  })
}
