/** `tern inspect`: what a container, a safetensors file, a model folder or a repo holds. */
import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { isRecord } from '../api-client.ts'
import { type Context, type Run, startRun } from '../context.ts'
import { CliError } from '../errors.ts'
import { describeOptions, formatBytes, formatFields } from '../format.ts'
import { looksLikeRepo, parseRepoRef } from '../repo-ref.ts'
import { fetchRevision } from './pull.ts'

interface Flags {
  readonly tensors?: boolean
}

export function registerInspect(program: Command, context: Context): void {
  program
    .command('inspect')
    .description('show what a .tern file, a safetensors file, a model folder or a repo on the server holds')
    .argument('<what>', 'FILE, DIR or ns/name[@rev]')
    .option('--tensors', 'list every tensor')
    .action(async (what: string, flags: Flags, self: Command) => {
      await runInspect(what, flags.tensors === true, startRun(context, self))
    })
}

async function runInspect(what: string, tensors: boolean, run: Run): Promise<void> {
  if (existsSync(what)) {
    const { inspectContainer, inspectWeights } = await import('../inspection.ts')
    const inspection = what.endsWith('.tern')
      ? await inspectContainer(what, tensors, run.signal)
      : await inspectWeights(what, tensors)
    run.print(inspection.json, inspection.text)
  } else if (looksLikeRepo(what)) {
    const { body } = await fetchRevision(parseRepoRef(what), run)
    run.print(body, describeRevision(body))
  } else {
    throw new CliError('INPUT_NOT_FOUND', `${what} is no file or folder here, and not of the form namespace/name`, {
      what,
    })
  }
}

/** The parts that one looks for first; everything is in the JSON. */
function describeRevision(body: unknown): string {
  if (!isRecord(body)) return JSON.stringify(body)
  const base = isRecord(body.base) ? body.base : undefined
  const report = isRecord(body.report) ? body.report : {}
  const warnings = Array.isArray(body.warnings) ? body.warnings.filter(isRecord) : []
  return formatFields({
    repo: text(body.repo),
    type: text(body.type),
    kind: text(body.kind),
    revision: text(body.revision),
    created: text(body.created),
    base: base && `${base.repo}@${base.revision}`,
    options: isRecord(body.options) ? describeOptions(body.options) : undefined,
    parameters: text(body.parameters ?? report.parameters),
    ratio: typeof report.ratio === 'number' ? `${report.ratio.toFixed(1)} x smaller` : undefined,
    'bits/param': typeof report.bits_per_parameter === 'number' ? report.bits_per_parameter.toFixed(3) : undefined,
    files: describeFiles(body.files),
    'on request': describeFiles(body.derived),
    warning: warnings.length > 0 ? warnings.map((warning) => warning.message).join('; ') : undefined,
  })
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
}

function describeFiles(value: unknown): string | undefined {
  const files = Array.isArray(value) ? value.filter(isRecord) : []
  return files.length > 0
    ? files.map((file) => `${file.path} (${formatBytes(Number(file.size))})`).join(', ')
    : undefined
}
