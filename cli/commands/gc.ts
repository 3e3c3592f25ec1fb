/** `tern gc`: remove what no branch or tag reaches. */
import { type Command, InvalidArgumentError } from 'commander'
import type { Tally } from '../../registry/gc.ts'
import { snakeCase } from '../../server/service/snake-case.ts'
import { type Context, startRun } from '../context.ts'
import { formatBytes, formatFields } from '../format.ts'

interface Flags {
  readonly delete?: boolean
  readonly graceHours: number
}

const DEFAULT_GRACE_HOURS = 24

export function registerGc(program: Command, context: Context): void {
  program
    .command('gc')
    .description('list what no branch or tag reaches, and with --delete remove it; safe while the service runs')
    .option('--delete', 'delete; without it nothing changes')
    .option('--grace-hours <n>', 'leave alone what is younger than this', hours, DEFAULT_GRACE_HOURS)
    .addHelpText('after', '\nWorks on the store of TERN_STORE_URL and TERN_INDEX_URL directly, without a server.')
    .action(async (flags: Flags, self: Command) => {
      const run = startRun(context, self)
      const { collectGarbage } = await import('../../registry/gc.ts')
      const { withRegistry } = await import('../registry-parts.ts')
      const seconds = flags.graceHours * 3600
      const report = await withRegistry(run, false, (parts) =>
        collectGarbage(parts, {
          dryRun: !flags.delete,
          graceSeconds: seconds,
          unfinishedSeconds: seconds,
          signal: run.signal,
        }),
      )
      const verb = report.dryRun ? 'would delete' : 'deleted'
      const text = formatFields({
        [`${verb} blobs`]: describe(report.blobs),
        [`${verb} manifests`]: describe(report.manifests),
        unfinished: `${report.unfinished.length} temporary files, ${report.intents} publishes that died`,
        kept: describe(report.kept),
        'too young': describe(report.spared),
      })
      run.print(snakeCase(report), report.dryRun ? `${text}\nNothing was changed: pass --delete to delete.` : text)
    })
}

function hours(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !(value >= 0) || value > 87_600)
    throw new InvalidArgumentError('hours, 0 or more, are expected.')
  return value
}

function describe({ count, bytes }: Tally): string {
  return `${count} (${formatBytes(bytes)})`
}
