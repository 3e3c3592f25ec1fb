/** `tern serve`: the service in the foreground. */
import type { Command } from 'commander'
import type { Context } from '../context.ts'

interface ServeFlags {
  readonly port?: string
  readonly host?: string
  readonly store?: string
  readonly index?: string
  readonly listVariables?: boolean
}

/** An option stands for the variable of the same meaning and wins over it. */
const VARIABLES = {
  port: 'TERN_PORT',
  host: 'TERN_HOST',
  store: 'TERN_STORE_URL',
  index: 'TERN_INDEX_URL',
} as const satisfies Record<Exclude<keyof ServeFlags, 'listVariables'>, string>

export function registerServe(program: Command, context: Context): void {
  program
    .command('serve')
    .description('start the service and keep it in the foreground; SIGTERM stops it gracefully')
    .option('--port <number>', 'port to listen on (default 8420)')
    .option('--host <address>', 'address to listen on (default 127.0.0.1); others need TERN_ADMIN_TOKEN')
    .option('--store <url>', 'file:PATH, s3://BUCKET/PREFIX?endpoint=URL (default file:./tern-data)')
    .option('--index <url>', 'sqlite:PATH (default: in the folder of the store)')
    .option('--list-variables', 'list what the server reads from its environment, and end')
    .action((flags: ServeFlags) => runServe(flags, context))
}

async function runServe(flags: ServeFlags, context: Context): Promise<void> {
  const { configHelp, readConfig } = await import('../../server/config.ts')
  if (flags.listVariables) {
    context.terminal.stdout.write(`${configHelp()}\n`)
    return
  }
  const { serve } = await import('../../server/main.ts')
  const env = { ...context.terminal.env }
  for (const [flag, variable] of Object.entries(VARIABLES)) {
    const value = flags[flag as keyof typeof VARIABLES]
    if (value !== undefined) env[variable] = value
  }
  await serve(readConfig(env), context.signal)
}
