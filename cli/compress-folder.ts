/** Compresses a folder on this machine, as the server would. */
import { rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { type CompressedExpert, compressExpert, type ExpertInput } from '../compress/compressor.ts'
import { filePayload } from '../compress/node/file-payload.ts'
import { workerPool } from '../compress/node/worker-pool.ts'
import { type CompressOptions, resolveOptions } from '../compress/options.ts'
import { snakeCase } from '../server/service/snake-case.ts'
import { openModelFolder } from '../tensors/node/model-folder.ts'
import { weightsDigest } from '../tensors/node/weights-digest.ts'
import { type CompressFlags, givenOptions } from './compress-options.ts'
import type { Run } from './context.ts'
import { openExpertFolder, requirePath } from './expert-folder.ts'
import { formatFields } from './format.ts'
import { requireAbsent, writeWhole } from './local-files.ts'
import { reportText } from './report-text.ts'
import { writeStream } from './write-stream.ts'

export interface CompressFolderFlags extends CompressFlags {
  readonly base?: string
  readonly threads?: number
  readonly force?: boolean
}

export async function compressFolder(dir: string, out: string, flags: CompressFolderFlags, run: Run): Promise<void> {
  requireAbsent(out, flags.force === true)
  const expert = await openExpertFolder(dir)
  try {
    const options = resolveOptions(expert.kind, givenOptions(flags))
    const result = await withBase(flags.base, run, (base) =>
      writeContainer({ ...expert, ...(base && { base }) }, options, out, flags.threads ?? availableParallelism(), run),
    )
    for (const warning of result.warnings) run.warn(warning.message)
    run.print(snakeCase({ path: out, ...result }), `${formatFields({ wrote: out })}\n${reportText(result.report)}`)
  } finally {
    await expert.source.close?.()
  }
}

type Base = NonNullable<ExpertInput['base']>

async function withBase<T>(
  path: string | undefined,
  run: Run,
  use: (base: Base | undefined) => Promise<T>,
): Promise<T> {
  if (path === undefined) return use(undefined)
  await requirePath(path)
  const source = await openModelFolder(path)
  try {
    return await use({ source, digest: await weightsDigest(source, run.signal) })
  } finally {
    await source.close?.()
  }
}

type Result = Pick<CompressedExpert, 'report' | 'warnings'> & { readonly bytes: number }

async function writeContainer(
  input: ExpertInput,
  options: CompressOptions,
  out: string,
  threads: number,
  run: Run,
): Promise<Result> {
  const executor = workerPool(threads)
  const progress = run.progress('compress')
  try {
    return await writeWhole(out, async (part) => {
      const payload = `${part}.payload`
      // A run that was killed may have left one behind.
      await rm(payload, { force: true })
      const spool = await filePayload(payload)
      try {
        const deps = { executor, spool, signal: run.signal, onProgress: progress.update }
        const { stream, size, report, warnings } = await compressExpert(input, options, deps)
        await writeStream(part, stream(), run.signal)
        return { bytes: size, warnings, report }
      } finally {
        await spool.close()
      }
    })
  } finally {
    progress.finish()
    await executor.close()
  }
}
