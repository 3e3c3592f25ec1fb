/** The server as a process of its own, started as a user starts it, on a store of the test's choice. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const TERN = join(ROOT, 'bin/tern.mjs')

export interface ServerProcess {
  readonly url: string
  readonly child: ChildProcess
  /** Every line that it has logged. */
  readonly log: readonly string[]
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>
}

/** Variables of this process without those that would configure Tern, and with the ones given. */
export function cleanEnv(extra: Readonly<Record<string, string>>): Record<string, string> {
  const kept = Object.entries(process.env).filter(([key, value]) => value !== undefined && !key.startsWith('TERN_'))
  return { ...(Object.fromEntries(kept) as Record<string, string>), ...extra }
}

/** Starts it on a free port and waits until it says that it listens. Fails with its log when it ends before. */
export async function startServer(env: Readonly<Record<string, string>>, command = TERN): Promise<ServerProcess> {
  const child = spawn(process.execPath, [command, 'serve'], {
    env: cleanEnv({ TERN_PORT: '0', ...env }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  const log: string[] = []
  const exited = once(child, 'exit') as Promise<[number | null]>
  const url = new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      log.push(line)
      const listening = /"url":"([^"]+)".*"msg":"listening"/.exec(line)
      if (listening?.[1]) resolve(listening[1])
    })
    createInterface({ input: child.stderr }).on('line', (line) => log.push(line))
    void exited.then(() => reject(new Error(`the server ended before it listened:\n${log.join('\n')}`)), reject)
  })
  return {
    url: await url,
    child,
    log,
    async stop() {
      child.kill('SIGTERM')
      return (await exited)[0]
    },
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
  }
}

/** Whatever a failing test forgets ends with the test process. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end. */
export async function runProgram(
  program: string,
  args: readonly string[],
  options: { env?: Readonly<Record<string, string>>; cwd?: string } = {},
): Promise<Finished> {
  const child = spawn(program, args, {
    env: cleanEnv(options.env ?? {}),
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.cwd !== undefined && { cwd: options.cwd }),
  })
  const collect = async (stream: AsyncIterable<Uint8Array>) => {
    const chunks: Uint8Array[] = []
    for await (const chunk of stream) chunks.push(chunk)
    return Buffer.concat(chunks).toString('utf8')
  }
  const closed = once(child, 'close') as Promise<[number | null]>
  const [stdout, stderr, [code]] = await Promise.all([collect(child.stdout), collect(child.stderr), closed])
  return { code, stdout, stderr }
}

/** The `tern` command. */
export function tern(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> {
  return runProgram(process.execPath, [TERN, ...args], { env })
}
