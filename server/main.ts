/** The running server: listen, and stop without losing what was acknowledged or leaving what was not. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Config } from './config.ts'
import { createApp } from './http/app.ts'
import { markAwaitingContinue } from './http/request-body.ts'
import { ServerError } from './service/errors.ts'
import { createLog, type Wired, wire } from './wire.ts'

/** Idle connections wait this long for the next request. */
const KEEP_ALIVE_MS = 75_000
/** How often connections that have become idle are closed while the server stops. */
const SWEEP_MS = 50
/** After running work was aborted, its clean-up gets this long. */
const CLEAN_UP_MS = 5_000

export interface Running {
  readonly url: string
  /** Resolves when the server has stopped. */
  readonly stopped: Promise<void>
  stop(): Promise<void>
}

/** Runs the server until SIGTERM, SIGINT or `signal`; resolves when it has stopped. Throws CONFIG_INVALID. */
export async function serve(config: Config, signal?: AbortSignal): Promise<void> {
  const running = await start(config)
  const stop = () => void running.stop()
  const signals = ['SIGTERM', 'SIGINT'] as const
  for (const name of signals) process.once(name, stop)
  signal?.addEventListener('abort', stop, { once: true })
  if (signal?.aborted) stop()
  try {
    await running.stopped
  } finally {
    for (const name of signals) process.off(name, stop)
    signal?.removeEventListener('abort', stop)
  }
}

/** Starts listening. */
export async function start(config: Config): Promise<Running> {
  const log = createLog(config.logLevel)
  const wired = await wire(config, log)
  const server = createServer(createApp(wired.services, { processMetrics: true }))
  configure(server)
  try {
    await listen(server, config)
  } catch (error) {
    await wired.close(AbortSignal.abort())
    throw error
  }
  const url = urlOf(server.address() as AddressInfo)
  log.info({ url, store: config.storeUrl.replace(/\?.*/, '') }, 'listening')
  let resolveStopped = () => {}
  const stopped = new Promise<void>((resolve) => {
    resolveStopped = resolve
  })
  let stopping: Promise<void> | undefined
  const stop = async () => {
    log.info({ seconds: config.stopSeconds }, 'stopping')
    await stopServer(server, wired, config.stopSeconds * 1000)
    log.info({}, 'stopped')
    resolveStopped()
  }
  return {
    url,
    stopped,
    stop() {
      stopping ??= stop()
      return stopping
    },
  }
}

function configure(server: Server): void {
  // An upload may take hours; the reader of its body notices one that stands still (multipart.ts).
  server.requestTimeout = 0
  server.keepAliveTimeout = KEEP_ALIVE_MS
  server.on('checkContinue', (request, response) => {
    markAwaitingContinue(request)
    // Refused before its body was asked for, a client may send it or not: nothing after it could be told apart.
    response.shouldKeepAlive = false
    server.emit('request', request, response)
  })
}

/**
 * No new connections, no new jobs; what runs may finish until the deadline. Then connections are cut, which aborts the
 * work behind them, and its files are deleted.
 */
async function stopServer(server: Server, wired: Wired, ms: number): Promise<void> {
  const deadline = AbortSignal.timeout(ms)
  const end = AbortSignal.timeout(ms + CLEAN_UP_MS)
  deadline.addEventListener('abort', () => server.closeAllConnections(), { once: true })
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  // A connection that has served its last request would stay open for the next one.
  server.prependListener('request', (_request, response) => {
    response.shouldKeepAlive = false
  })
  const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS)
  try {
    await untilAborted(Promise.all([closed, wired.drain(deadline)]), end)
  } finally {
    clearInterval(sweep)
    await wired.close(end)
  }
}

function untilAborted(work: Promise<unknown>, signal: AbortSignal): Promise<unknown> {
  const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  return Promise.race([work, aborted])
}

function listen(server: Server, { host, port }: Config): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'is taken by another process' : `cannot be used (${error.code})`
      reject(
        new ServerError(
          'CONFIG_INVALID',
          `TERN_HOST and TERN_PORT: ${host}:${port} ${why}`,
          { host, port },
          { cause: error },
        ),
      )
    })
    server.listen(port, host, resolve)
  })
}

function urlOf({ address, port, family }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}
