/** The command line as a function: arguments in, exit code out. Nothing here touches the process. */
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { registerCompress } from './commands/compress.ts'
import { registerDecompress } from './commands/decompress.ts'
import { registerGc } from './commands/gc.ts'
import { registerInspect } from './commands/inspect.ts'
import { registerMerge } from './commands/merge.ts'
import { registerPull } from './commands/pull.ts'
import { registerPush } from './commands/push.ts'
import { registerReindex } from './commands/reindex.ts'
import { registerServe } from './commands/serve.ts'
import { registerVerify } from './commands/verify.ts'
import type { Context } from './context.ts'
import { DEFAULT_SERVER, type GlobalOptions } from './context.ts'
import { describeFailure, EXIT, type ExitCode } from './failure.ts'

const EXIT_CODES = `
Exit codes:
  0  done
  1  it failed: bad input, a refusal of the server, no space, a problem found by verify
  2  the command line was wrong
Errors go to stderr as CODE: message, under --json as {"error": {"code", "message", "detail"}}.

Environment: TERN_URL and TERN_TOKEN stand for --server and --token. "tern serve --list-variables" lists what the
server reads.`

const COMMANDS = [
  registerServe,
  registerPush,
  registerPull,
  registerMerge,
  registerCompress,
  registerDecompress,
  registerInspect,
  registerGc,
  registerReindex,
  registerVerify,
]

export async function runCli(args: readonly string[], context: Context): Promise<ExitCode> {
  const program = buildProgram(context)
  try {
    await program.parseAsync(args, { from: 'user' })
    return EXIT.ok
  } catch (error) {
    const { json, verbose } = program.opts<GlobalOptions>()
    const failure = describeFailure(error, verbose === true || args.includes('--verbose'))
    const asJson = json === true || args.includes('--json')
    if (failure.exitCode !== EXIT.ok) {
      context.terminal.stderr.write(asJson ? `${JSON.stringify({ error: failure.error })}\n` : failure.text)
    }
    return failure.exitCode
  }
}

function buildProgram(context: Context): Command {
  const { stdout, stderr } = context.terminal
  const program = new Command('tern')
    .description('The registry for ternary-compressed experts: upload, fetch and merge fine-tunes of LLMs.')
    .version(readVersion())
    .addHelpText('after', EXIT_CODES)
  addGlobalOptions(program)
  for (const register of COMMANDS) register(program, context)
  for (const command of [program, ...program.commands]) {
    command
      .exitOverride()
      .configureHelp({ showGlobalOptions: true })
      .configureOutput({ writeOut: (text) => stdout.write(text), writeErr: (text) => stderr.write(text) })
      .showHelpAfterError(`(tern ${command === program ? '' : `${command.name()} `}--help shows what is allowed)`)
  }
  return program
}

/** These may stand before or after the command. */
function addGlobalOptions(program: Command): void {
  program
    .option('--json', 'print one JSON value on stdout, for programs')
    .option('--server <url>', `server to talk to (TERN_URL, else ${DEFAULT_SERVER})`)
    .option('--token <token>', 'bearer token (TERN_TOKEN)')
    .option('--progress', 'show progress on stderr even when it is not a terminal')
    .option('--no-progress', 'never show progress')
    .option('--verbose', 'show the stack of an error')
}

function readVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
