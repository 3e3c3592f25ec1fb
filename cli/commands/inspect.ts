/** `tern inspect`: what a container, a safetensors file, a model folder or a repo holds. */
import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { isRecord } from '../api-client.ts'
import { type Context, type Run, startRun } from '../context.ts'
import { CliError } from '../errors.ts'
import { formatFields } from '../format.ts'
import { inspectContainer, inspectWeights } from '../inspection.ts'
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

/** Plain values as they are, files by name, the rest as JSON: the API's own words, so nothing is lost or renamed. */
function describeRevision(body: unknown): string {
  if (!isRecord(body)) return JSON.stringify(body)
  return formatFields(
    Object.fromEntries(
      Object.entries(body).map(([key, value]) => {
        if (Array.isArray(value) && value.every((item) => isRecord(item) && 'path' in item)) {
          return [key, value.map((file) => `${file.path} (${file.size} bytes)`).join(', ')]
        }
        return [key, typeof value === 'string' || typeof value === 'number' ? value : JSON.stringify(value)]
      }),
    ),
  )
}
