/** Who needs a repo: a full fine-tune cannot be read without the base it is the difference to. */
import type { Registry, RepoDetail } from '../../registry/registry.ts'
import { ServerError } from './errors.ts'

/** Named in the message; one would be reason enough. */
const NAMED = 5

/** Throws IN_USE. */
export async function checkDeletable(registry: Registry, { repo, type }: RepoDetail): Promise<void> {
  if (type !== 'base') return
  const { repos } = await registry.listRepos({ type: 'expert', base: repo, limit: NAMED })
  if (repos.length === 0) return
  const names = repos.map((expert) => expert.repo)
  throw new ServerError('IN_USE', `${repo} is the base of ${names.join(', ')}: delete those first`, {
    repo,
    experts: names,
  })
}
