/** Entry of the `tern` command: bin/tern.mjs imports it once the version of Node is known to do. */
import { runCli } from './run-cli.ts'

// The first signal asks every loop to stop and clean up; a second one of the same kind ends the process at once.
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => stop.abort(new DOMException(`stopped by ${signal}`, 'AbortError')))
}
// A reader that has seen enough (`tern inspect x | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
})
process.exitCode = await runCli(process.argv.slice(2), {
  terminal: { stdout: process.stdout, stderr: process.stderr, env: process.env },
  signal: stop.signal,
})
