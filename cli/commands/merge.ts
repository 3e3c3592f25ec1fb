/** `tern merge`: run a mergekit recipe, on the server or on this machine. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Command } from 'commander'
import { apiJson, isRecord } from '../api-client.ts'
import { type Context, type Run, startRun } from '../context.ts'
import { download } from '../download.ts'
import { CliError } from '../errors.ts'
import { formatBytes, formatFields } from '../format.ts'
import { type FinishedJob, followJob } from '../jobs.ts'
import { requireAbsent, requireFile } from '../local-files.ts'
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
  for (const file of job.files) requireAbsent(join(dir, file.path), force)
  let bytes = 0
  for (const file of job.files) bytes += await fetchFile(job, file, dir, run)
  run.print(
    { job: job.id, path: dir, files: job.files.map((file) => file.path), bytes, result: job.result },
    formatFields({
      job: job.id,
      wrote: dir,
      files: job.files.map((file) => file.path).join(', '),
      size: formatBytes(bytes),
      published: publishedAs(job.result),
    }),
  )
}

async function fetchFile(job: FinishedJob, file: FinishedJob['files'][number], dir: string, run: Run): Promise<number> {
  const progress = run.progress(file.path, 'bytes')
  const { bytes } = await download(run.server, {
    from: `/v1/jobs/${encodeURIComponent(job.id)}/files/${encodePath(file.path)}`,
    to: join(dir, file.path),
    digest: file.digest,
    onProgress: progress.update,
  })
  progress.finish()
  return bytes
}

function publishedAs(result: Record<string, unknown>): string | undefined {
  const published = result.published
  if (!isRecord(published)) return undefined
  if (typeof published.repo !== 'string')
    throw new CliError('SERVER_ANSWER_INVALID', 'a published result without repo', {})
  return `${published.repo}@${String(published.revision)}`
}
