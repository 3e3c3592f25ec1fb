/** Follows a job of the server to its end. */
import { apiFetch, apiJson, isRecord } from './api-client.ts'
import type { Run } from './context.ts'
import { CliError } from './errors.ts'
import { serverEvents } from './event-stream.ts'

export interface FinishedJob {
  readonly id: string
  readonly files: readonly { readonly path: string; readonly digest: string | undefined }[]
  readonly warnings: readonly string[]
  readonly result: Record<string, unknown>
}

/** Reconnections of the event stream without news in between, before the command gives up. */
const MAX_RECONNECTS = 5

/**
 * Shows progress until the job has ended. Throws JOB_FAILED with the job's own code and message, JOB_CANCELLED. Stopping
 * this command (Ctrl-C) cancels the job too: nobody waits for its result any more.
 */
export async function followJob(submitted: unknown, run: Run): Promise<FinishedJob> {
  let job = readJob(submitted)
  const progress = run.progress('merge', 'bytes')
  try {
    for (let idle = 0; !isFinal(job); ) {
      const before = JSON.stringify(job)
      job = await followEvents(job, run, progress.update)
      idle = JSON.stringify(job) === before ? idle + 1 : 0
      if (idle > MAX_RECONNECTS)
        throw new CliError('SERVER_ANSWER_INVALID', `no news of job ${job.id}`, { job: job.id })
    }
  } catch (error) {
    if (run.signal.aborted) await cancel(job.id, run)
    throw error
  } finally {
    progress.finish()
  }
  return finished(job)
}

interface Job {
  readonly id: string
  readonly state: string
  readonly done: number
  readonly total: number
  readonly body: Record<string, unknown>
}

/** One connection to the event stream. It may end early (a proxy's time limit): the state is then asked for. */
async function followEvents(job: Job, run: Run, onProgress: (done: number, total: number) => void): Promise<Job> {
  const path = `/v1/jobs/${encodeURIComponent(job.id)}`
  try {
    const response = await apiFetch(run.server, `${path}/events`, { headers: { accept: 'text/event-stream' } })
    for await (const event of serverEvents(response.body ?? new ReadableStream())) {
      const next = readJob(JSON.parse(event.data))
      onProgress(next.done, next.total)
      if (isFinal(next)) return next
    }
  } catch (error) {
    if (run.signal.aborted || error instanceof CliError) throw error
  }
  return readJob((await apiJson(run.server, path)).body)
}

function readJob(body: unknown): Job {
  if (!isRecord(body) || typeof body.id !== 'string' || typeof body.state !== 'string') {
    throw new CliError('SERVER_ANSWER_INVALID', 'the description of the job has no "id" and "state"', {})
  }
  const progress = isRecord(body.progress) ? body.progress : {}
  return {
    id: body.id,
    state: body.state,
    done: Number(progress.done ?? 0),
    total: Number(progress.total ?? 0),
    body,
  }
}

function isFinal({ state }: Job): boolean {
  return state === 'succeeded' || state === 'failed' || state === 'cancelled'
}

function finished({ id, state, body }: Job): FinishedJob {
  if (state === 'cancelled') throw new CliError('JOB_CANCELLED', `job ${id} was cancelled`, { job: id })
  if (state === 'failed') throw failureOf(id, body.error)
  const result = isRecord(body.result) ? body.result : {}
  const files = Array.isArray(result.files) ? result.files.filter(isRecord) : []
  const warnings = Array.isArray(result.warnings) ? result.warnings.map(String) : []
  return {
    id,
    files: files.map((file) => ({
      path: String(file.path),
      digest: typeof file.digest === 'string' ? file.digest : undefined,
    })),
    warnings,
    result,
  }
}

function failureOf(id: string, error: unknown): CliError {
  const { code, message } = isRecord(error) ? error : {}
  return new CliError(
    'JOB_FAILED',
    `job ${id}: ${String(code ?? 'INTERNAL')}: ${String(message ?? 'no reason given')}`,
    {
      job: id,
      error,
    },
  )
}

async function cancel(id: string, run: Run): Promise<void> {
  // The run's own signal has fired already; this request has its own.
  const server = { ...run.server, signal: AbortSignal.timeout(5000) }
  await apiJson(server, `/v1/jobs/${encodeURIComponent(id)}`, { method: 'DELETE' }).catch(() => {})
}
