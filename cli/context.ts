/** What every command works with: where output goes, how progress is shown, when to stop, which server is meant. */
import type { Command } from 'commander'
import { type ApiTarget, apiTarget } from './api-client.ts'
import { type ProgressMaker, type ProgressOutput, progressMaker } from './progress.ts'

export interface Terminal {
  readonly stdout: ProgressOutput
  readonly stderr: ProgressOutput
  readonly env: Readonly<Record<string, string | undefined>>
}

export interface Context {
  readonly terminal: Terminal
  readonly signal: AbortSignal
}

/** Options that stand before or after any command. */
export interface GlobalOptions {
  readonly json?: boolean
  readonly server?: string
  readonly token?: string
  readonly progress?: boolean
  readonly verbose?: boolean
}

export interface Run {
  readonly signal: AbortSignal
  readonly env: Terminal['env']
  readonly progress: ProgressMaker
  readonly server: ApiTarget
  /** The result of the command: JSON under `--json`, else the text (without a line break at its end). */
  print(result: unknown, text: string): void
  /** A remark that is no failure, for people: stderr, silent under `--json`. */
  warn(message: string): void
}

export const DEFAULT_SERVER = 'http://127.0.0.1:8420'

export function startRun(context: Context, command: Command): Run {
  const options = command.optsWithGlobals<GlobalOptions>()
  const { stdout, stderr, env } = context.terminal
  return {
    signal: context.signal,
    env,
    progress: progressMaker(stderr, options.json ? (options.progress ?? false) : options.progress),
    // Read when a command asks for it, so that a bad TERN_URL does not stop an offline command.
    get server() {
      const url = options.server ?? env.TERN_URL ?? DEFAULT_SERVER
      return apiTarget(url, options.token ?? env.TERN_TOKEN, context.signal)
    },
    print(result, text) {
      stdout.write(options.json ? `${JSON.stringify(result)}\n` : `${text}\n`)
    },
    warn(message) {
      if (!options.json) stderr.write(`tern: note: ${message}\n`)
    },
  }
}
