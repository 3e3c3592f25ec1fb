/** `tern reindex`: rebuild the index from the bucket. */
import type { Command } from 'commander'
import { snakeCase } from '../../server/service/snake-case.ts'
import { type Context, startRun } from '../context.ts'
import { CliError } from '../errors.ts'
import { formatFields } from '../format.ts'

export function registerReindex(program: Command, context: Context): void {
  program
    .command('reindex')
    .description(
      'rebuild the index from the store: after it was lost, or the store was restored; safe while the service runs',
    )
    .addHelpText('after', '\nWorks on the store of TERN_STORE_URL and TERN_INDEX_URL directly, without a server.')
    .action(async (_: unknown, self: Command) => {
      const run = startRun(context, self)
      const { reindex } = await import('../../registry/reindex.ts')
      const { withRegistry } = await import('../registry-parts.ts')
      const report = await withRegistry(run, true, (parts) => reindex(parts, { signal: run.signal }))
      const { repos, revisions, removed, problems } = report
      run.print(
        snakeCase(report),
        formatFields({
          repos,
          revisions,
          removed: removed.length > 0 ? removed.join(', ') : 'none',
          problems: problems.length,
        }),
      )
      if (problems.length === 0) return
      const list = problems.map(({ where, message }) => `${where}: ${message}`).join('; ')
      throw new CliError('PROBLEMS_FOUND', `the rest is indexed, but not ${list}`, { problems })
    })
}
