/** Exit codes, and what a person is told when a command fails: the code, the message, what to do about it. */
import { CommanderError } from 'commander'
import { CodedError } from '../errors.ts'

export const EXIT = { ok: 0, failed: 1, usage: 2 } as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** Codes that say the command line was wrong, whoever noticed: this process or the server. */
const USAGE_CODES = new Set(['USAGE_INVALID', 'PARAMETER_INVALID', 'NAME_INVALID', 'CONFIG_INVALID'])

const HINTS: Readonly<Record<string, string>> = {
  SERVER_UNREACHABLE: 'Start a server with "tern serve", or name another with --server or TERN_URL.',
  UNAUTHENTICATED: 'Give a token with --token or TERN_TOKEN.',
  FORBIDDEN: 'The token does not cover this: use one with the right scope.',
  BASE_REQUIRED: 'Name the base that the fine-tune was made from with --base.',
  BASE_MISMATCH: 'Check that --base is the very model, and revision, that the expert was made from.',
  BASE_DIFFERS: 'Merge onto the base that the experts were made from.',
  FACTOR_LOST: 'Take a higher --density, --scope tensor or --transform svd; without --strict it is only a warning.',
  OUTPUT_EXISTS: 'Choose another place, or pass --force.',
  DOWNLOAD_CORRUPT: 'Run the command again. If it stays, run "tern verify" on the server\'s store.',
  PROBLEMS_FOUND: 'Restore the named blobs from a backup, or push the experts again: equal content repairs its blob.',
  STORE_UNAVAILABLE: 'Check TERN_STORE_URL and that the store is up, then run the command again.',
}

export interface Failure {
  readonly exitCode: ExitCode
  /** For people; empty where commander has already written. */
  readonly text: string
  /** For `--json`. */
  readonly error: {
    readonly code: string
    readonly message: string
    readonly detail: Readonly<Record<string, unknown>>
  }
}

/** Describes anything thrown. `verbose` adds the stack, which otherwise nobody sees. */
export function describeFailure(thrown: unknown, verbose: boolean): Failure {
  if (thrown instanceof CommanderError) {
    const exitCode = thrown.exitCode === 0 ? EXIT.ok : EXIT.usage
    return { exitCode, text: '', error: { code: 'USAGE_INVALID', message: thrown.message, detail: {} } }
  }
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  const code = codeOf(error)
  const hint = HINTS[code]
  const lines = [`tern: ${code}: ${error.message}`]
  if (hint) lines.push(`      ${hint}`)
  if (code === 'INTERNAL')
    lines.push('      This is a bug in Tern: run again with --verbose and report what it prints.')
  if (verbose && error.stack) lines.push(error.stack)
  return {
    exitCode: USAGE_CODES.has(code) ? EXIT.usage : EXIT.failed,
    text: `${lines.join('\n')}\n`,
    error: { code, message: error.message, detail: error instanceof CodedError ? error.detail : {} },
  }
}

function codeOf(error: Error): string {
  if (error instanceof CodedError) return error.code
  if (error.name === 'AbortError') return 'CANCELLED'
  // ENOENT, EACCES, ENOSPC and the like name the file in their message.
  if ('syscall' in error && 'code' in error && typeof error.code === 'string') return error.code
  return 'INTERNAL'
}
