/** Publishing what a merge made: a model as a base, or as an expert of its base; an adapter as an expert. */
import { createReadStream } from 'node:fs'
import type { MergePlan } from '../../merge/plan.ts'
import type { Digest } from '../../registry/digest.ts'
import { RegistryError } from '../../registry/errors.ts'
import { checkRefName, parseRepoId } from '../../registry/names.ts'
import type { Registry, Resolved } from '../../registry/registry.ts'
import type { Ingest } from './ingest.ts'
import type { Planned } from './merges.ts'
import { isNotFound } from './models.ts'
import type { Result, Results } from './results.ts'
import type { Upload } from './upload.ts'

const READ_BYTES = 2 ** 20

function typeOf({ outputKind, recipe }: MergePlan): 'base' | 'expert' {
  return outputKind === 'model' && recipe.output.kind !== 'expert' ? 'base' : 'expert'
}

/** Refuses at once what `publishMerge` would refuse after the work. Throws NAME_INVALID, REPO_CONFLICT. */
export async function checkTarget(registry: Registry, plan: MergePlan): Promise<void> {
  const { publish, tag } = plan.recipe.output
  if (publish === undefined) return
  parseRepoId(publish)
  if (tag !== undefined) checkRefName(tag)
  const existing = await registry.repo(publish).catch((error: unknown) => {
    if (isNotFound(error)) return undefined
    throw error
  })
  if (existing === undefined || existing.type === typeOf(plan)) return
  throw new RegistryError('REPO_CONFLICT', `output.publish: ${publish} is a repo of type ${existing.type}`, {
    repo: publish,
    type: existing.type,
  })
}

/** Undefined where the recipe does not ask for it. */
export async function publishMerge(
  { ingest, results }: { ingest: Ingest; results: Results },
  { plan, resolved }: Planned,
  result: Result,
  signal: AbortSignal,
): Promise<{ repo: string; revision: string } | undefined> {
  const { publish: repo, tag } = plan.recipe.output
  if (repo === undefined) return undefined
  const fill = (upload: Upload) => copyResult(results, plan.digest as Digest, result, upload, signal)
  if (typeOf(plan) === 'base') {
    const published = await ingest.base({ repo, tag }, fill, signal)
    return { repo, revision: published.resolved.revision }
  }
  const base = baseOf(plan, resolved)
  const published = await ingest.expert(
    { repo, tag, options: {}, ...(base && { base: `${base.repo}@${base.revision}` }) },
    fill,
    signal,
  )
  return { repo, revision: published.resolved.revision }
}

function baseOf(plan: MergePlan, resolved: ReadonlyMap<string, Resolved>): Resolved | undefined {
  const { base } = plan.recipe
  return base === null ? undefined : resolved.get(base.ref.model)
}

async function copyResult(
  results: Results,
  plan: Digest,
  { files }: Result,
  upload: Upload,
  signal: AbortSignal,
): Promise<void> {
  for (const [index, { path }] of files.entries()) {
    await upload.add(path, createReadStream(results.pathOf(plan, index), { highWaterMark: READ_BYTES }), signal)
  }
}
