/** Server-sent events (WHATWG HTML, "Server-sent events") of one job, from its present state to its end. */
import type { Response } from 'express'
import type { JobRow } from '../service/job-store.ts'
import { isFinal, type Jobs } from '../service/jobs.ts'

/** Proxies close connections on which nothing moves. */
const KEEP_ALIVE_MS = 15_000

/**
 * Sends the state as an event, then one event per change; `id` is the job's version. A client that comes back with
 * Last-Event-ID is not told again what it knows. Resolves when the job has ended or the client has gone.
 */
export function sendJobEvents(
  jobs: Jobs,
  id: string,
  lastSeen: number,
  response: Response,
  render: (job: JobRow) => unknown,
) {
  // A client that knows the present state gets no event at once; it must still see that the stream is open.
  response.flushHeaders()
  return new Promise<void>((resolve) => {
    let ended = false
    const timer = setInterval(() => response.write(': still here\n\n'), KEEP_ALIVE_MS).unref()
    const finish = () => {
      if (ended) return
      ended = true
      clearInterval(timer)
      // The first call comes from inside `watch`, before it has returned.
      queueMicrotask(() => stop())
      response.end(resolve)
      if (response.destroyed) resolve()
    }
    const stop = jobs.watch(id, (job) => {
      if (ended) return
      if (job.version > lastSeen) {
        response.write(`id: ${job.version}\nevent: ${job.state}\ndata: ${JSON.stringify(render(job))}\n\n`)
      }
      if (isFinal(job.state)) finish()
    })
    response.once('close', finish)
  })
}
