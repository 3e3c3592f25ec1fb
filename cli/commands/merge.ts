/** `tern merge`: run a mergekit recipe, on the server or on this machine. */
import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { apiJson, isRecord } from '../api-client.ts'
import { type Context, type Run, startRun } from '../context.ts'
import { CliError } from '../errors.ts'
import { fetchFiles } from '../fetch-files.ts'
import { formatBytes, formatFields } from '../format.ts'
import { followJob } from '../jobs.ts'
import { requireFile } from '../local-files.ts'
import { encodePath } from '../repo-ref.ts'

interface Flags {
  readonly local?: boolean
  readonly force?: boolean
}

export function registerMerge(program: Command, context: Context): void {
  program
    .command('merge')
    .description('merge models and experts by a mergekit recipe (YAML, or JSON)')
    .argument('<recipe>', 'recipe file; names in it are repos of the server, with --local paths on this machine')
    .argument('<dir>', 'folder for the result')
    .option('--local', 'merge on this machine, without a server: models are folders, adapter folders or .tern files')
    .option('--force', 'replace files that exist')
    .action(async (recipe: string, dir: string, flags: Flags, self: Command) => {
      await requireFile(recipe)
      const run = startRun(context, self)
      await (flags.local ? mergeHere : mergeThere)(recipe, dir, flags.force === true, run)
    })
}

async function mergeHere(recipe: string, dir: string, force: boolean, run: Run): Promise<void> {
  const { mergeLocally } = await import('../local-merge.ts')
  const result = await mergeLocally(recipe, dir, force, run)
  const { outputKind, ...rest } = result
  run.print(
    { ...rest, output_kind: outputKind },
    formatFields({
      wrote: dir,
      kind: outputKind,
      tensors: result.tensors,
      files: result.files.join(', '),
      plan: result.digest,
    }),
  )
}

async function mergeThere(recipe: string, dir: string, force: boolean, run: Run): Promise<void> {
  const { body } = await apiJson(run.server, '/v1/merges', {
    method: 'POST',
    headers: { 'content-type': recipe.endsWith('.json') ? 'application/json' : 'application/yaml' },
    body: await readFile(recipe, 'utf8'),
  })
  const job = await followJob(body, run)
  for (const warning of job.warnings) run.warn(warning)
  const files = job.files.map(({ path, digest }) => {
    return { path, digest, from: `/v1/jobs/${encodeURIComponent(job.id)}/files/${encodePath(path)}` }
  })
  const bytes = await fetchFiles(files, dir, force, run)
  run.print(
    { job: job.id, path: dir, files: job.files.map((file) => file.path), bytes, result: job.result },
    formatFields({
      job: job.id,
      wrote: dir,
      files: job.files.map((file) => file.path).join(', '),
      downloaded: formatBytes(bytes),
      published: publishedAs(job.result),
    }),
  )
}

function publishedAs(result: Record<string, unknown>): string | undefined {
  const published = result.published
  if (!isRecord(published)) return undefined
  if (typeof published.repo !== 'string')
    throw new CliError('SERVER_ANSWER_INVALID', 'a published result without repo', {})
  return `${published.repo}@${String(published.revision)}`
}
