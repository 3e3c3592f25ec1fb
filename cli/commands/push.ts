/** `tern push`: upload a folder; the server compresses and publishes it. */
import { type Command, Option } from 'commander'
import { isRecord } from '../api-client.ts'
import { addCompressOptions, type CompressFlags, givenOptions } from '../compress-options.ts'
import { type Context, type Run, startRun } from '../context.ts'
import { CliError } from '../errors.ts'
import { formatBytes, formatFields } from '../format.ts'
import { type LocalFile, listFolder } from '../local-files.ts'
import { parseRepoRef, repoPath } from '../repo-ref.ts'
import { uploadFiles } from '../upload.ts'

interface Flags extends CompressFlags {
  readonly kind?: string
  readonly base?: string
  readonly tag?: string
  readonly retain?: string
}

/** The server refuses formats that run code when read; PEFT's trainers leave some beside the weights. */
const PICKLES = /\.(bin|pt|pth|ckpt|pkl|pickle|joblib)$/i

export function registerPush(program: Command, context: Context): void {
  const command = program
    .command('push')
    .description('upload a folder: an adapter or a full fine-tune is compressed and published, a base is published')
    .argument('<dir>', 'folder; every file in it is sent, except hidden ones and pickled weights')
    .argument('<ns/name>', 'repo to publish to; @branch publishes to a branch other than main')
    .addOption(
      new Option('--kind <kind>', 'what it is (default: found out from the files)').choices([
        'base',
        'lora',
        'ia3',
        'full',
      ]),
    )
    .option('--base <ns/name[@rev]>', 'the base it was made from; needed for a full fine-tune')
    .option('--tag <tag>', 'tag the new revision')
    .addOption(
      new Option('--retain <what>', 'keep the uploaded weights beside the compressed ones').choices([
        'none',
        'original',
      ]),
    )
  addCompressOptions(command).action(async (dir: string, repo: string, flags: Flags, self: Command) => {
    await runPush(dir, repo, flags, startRun(context, self))
  })
}

async function runPush(dir: string, repoText: string, flags: Flags, run: Run): Promise<void> {
  const { repo, ref } = parseRepoRef(repoText)
  const files = leaveOutPickles(await listFolder(dir), run)
  const progress = run.progress('upload', 'bytes')
  const path = `${repoPath(flags.kind === 'base' ? 'bases' : 'experts', repo)}/revisions${query(flags, ref)}`
  const answer = await uploadFiles(run.server, path, files, progress.update)
  progress.finish()
  if (!isRecord(answer)) throw new CliError('SERVER_ANSWER_INVALID', 'the answer to the upload is no JSON object', {})
  for (const warning of warningsOf(answer)) run.warn(warning)
  run.print(answer, summary(answer))
}

function leaveOutPickles(files: LocalFile[], run: Run): LocalFile[] {
  const left = files.filter((file) => PICKLES.test(file.path))
  if (left.length > 0)
    run.warn(`not sent, since pickled files run code when they are read: ${left.map((f) => f.path).join(', ')}`)
  return files.filter((file) => !PICKLES.test(file.path))
}

function query(flags: Flags, branch: string): string {
  const query = new URLSearchParams()
  if (branch !== 'main') query.set('branch', branch)
  if (flags.tag !== undefined) query.set('tag', flags.tag)
  if (flags.kind !== 'base') {
    if (flags.kind !== undefined) query.set('kind', flags.kind)
    if (flags.base !== undefined) query.set('base', flags.base)
    if (flags.retain !== undefined) query.set('retain', flags.retain)
    for (const [name, value] of Object.entries(givenOptions(flags))) query.set(name, String(value))
  }
  const text = query.toString()
  return text === '' ? '' : `?${text}`
}

function warningsOf(answer: Record<string, unknown>): string[] {
  const warnings = Array.isArray(answer.warnings) ? answer.warnings : []
  return warnings.map((warning) => (isRecord(warning) ? String(warning.message) : String(warning)))
}

function summary(answer: Record<string, unknown>): string {
  const container = isRecord(answer.container) ? answer.container : {}
  const bytes = container.bytes
  const original = answer.original_bytes
  return formatFields({
    repo: String(answer.repo),
    revision: String(answer.revision),
    kind: typeof answer.kind === 'string' ? answer.kind : undefined,
    original: typeof original === 'number' ? formatBytes(original) : undefined,
    compressed: typeof bytes === 'number' ? formatBytes(bytes) : undefined,
    ratio: typeof answer.ratio === 'number' ? `${answer.ratio.toFixed(1)} x` : undefined,
    'bits/param': typeof answer.bits_per_param === 'number' ? answer.bits_per_param.toFixed(3) : undefined,
  })
}
