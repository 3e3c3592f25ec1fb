/** `tern verify`: hash everything again and compare the index with the store. */
import type { Command } from 'commander'
import { snakeCase } from '../../server/service/snake-case.ts'
import { type Context, startRun } from '../context.ts'
import { CliError } from '../errors.ts'
import { formatBytes, formatFields } from '../format.ts'

interface Flags {
  readonly hash: boolean
}

export function registerVerify(program: Command, context: Context): void {
  program
    .command('verify')
    .description('check every branch, manifest and file of the store, and the index; exit code 1 if anything is wrong')
    .option('--no-hash', 'compare sizes only, without reading the files')
    .addHelpText('after', '\nWorks on the store of TERN_STORE_URL and TERN_INDEX_URL directly, without a server.')
    .action(async (flags: Flags, self: Command) => {
      const run = startRun(context, self)
      const { verifyRegistry } = await import('../../registry/verify.ts')
      const { withRegistry } = await import('../registry-parts.ts')
      const progress = run.progress('verify')
      const report = await withRegistry(run, false, (parts) =>
        verifyRegistry(parts, { hash: flags.hash, signal: run.signal, onProgress: progress.update }),
      ).finally(progress.finish)
      const { repos, revisions, blobs, bytes, problems } = report
      const fields = formatFields({
        repos,
        revisions,
        files: `${blobs} (${formatBytes(bytes)})`,
        problems: problems.length,
      })
      const lines = problems.map(({ kind, message }) => `${kind}: ${message}`)
      run.print(snakeCase(report), [fields, ...lines].join('\n'))
      if (problems.length > 0) throw new CliError('PROBLEMS_FOUND', `${problems.length} problems, listed above`, {})
    })
}
