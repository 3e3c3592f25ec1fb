/** Long work with a name: queued, running, then succeeded, failed or cancelled, with progress that can be watched. */
import { randomBytes } from 'node:crypto'
import { CodedError } from '../../errors.ts'
import { ServerError } from './errors.ts'
import type { JobFailure, JobRow, JobState, JobStore } from './job-store.ts'
import type { Log } from './log.ts'

/** Queue length after which new work is refused: a queue that never drains helps nobody. */
const MAX_QUEUED = 1000
/** Finished rows kept. */
const KEEP_ROWS = 10_000
/** Progress is told at most this often: a merge of 10,000 tiny tensors needs no 10,000 rows written. */
const PROGRESS_MS = 200

export interface JobContext {
  readonly id: string
  readonly signal: AbortSignal
  progress(done: number, total: number): void
}

export interface JobSpec {
  readonly key: string
  readonly request: Readonly<Record<string, unknown>>
  run(context: JobContext): Promise<Record<string, unknown>>
}

export type JobListener = (job: JobRow) => void

interface Live {
  row: JobRow
  readonly spec: JobSpec
  readonly abort: AbortController
  readonly done: Promise<void>
  readonly settle: () => void
  told: number
}

export class Jobs {
  readonly #store: JobStore
  readonly #log: Log
  readonly #parallel: number
  readonly #live = new Map<string, Live>()
  readonly #queue: Live[] = []
  readonly #listeners = new Map<string, Set<JobListener>>()
  #running = 0
  #stopping = false

  /** Jobs of a process that ended without finishing them are closed as failed. */
  constructor(o: { store: JobStore; log: Log; parallel: number }) {
    this.#store = o.store
    this.#log = o.log
    this.#parallel = o.parallel
    for (const row of o.store.unfinished()) {
      const error = {
        code: 'STOPPING',
        message: 'the server stopped before this job ended; submit it again',
        detail: {},
      }
      o.store.put({ ...row, state: 'failed', version: row.version + 1, finished: now(), error })
    }
    o.store.prune(KEEP_ROWS)
  }

  /** Queues the work, or answers with the job that is already doing it. Throws STOPPING, BUSY. */
  submit(spec: JobSpec): JobRow {
    const same = this.#store.latest(spec.key, ['queued', 'running'])
    if (same !== undefined) return this.get(same.id)
    if (this.#stopping) throw new ServerError('STOPPING', 'the server is shutting down; submit the job again')
    if (this.#queue.length >= MAX_QUEUED) {
      throw new ServerError('BUSY', `${MAX_QUEUED} jobs wait already; try again later`, { limit: MAX_QUEUED })
    }
    const live = newLive(spec)
    this.#store.put(live.row)
    this.#live.set(live.row.id, live)
    this.#queue.push(live)
    this.#startNext()
    return live.row
  }

  /** Throws JOB_NOT_FOUND. */
  get(id: string): JobRow {
    const row = this.#live.get(id)?.row ?? this.#store.get(id)
    if (row === undefined) throw new ServerError('JOB_NOT_FOUND', `no job ${id}`, { job: id })
    return row
  }

  /** A job whose result can be asked for. Throws JOB_NOT_FOUND, JOB_NOT_READY. */
  succeededJob(id: string): JobRow {
    const row = this.get(id)
    if (row.state === 'succeeded') return row
    throw new ServerError('JOB_NOT_READY', `job ${id} is ${row.state}; it has no files`, { job: id, state: row.state })
  }

  /** The latest job with this key that succeeded. */
  succeeded(key: string): JobRow | undefined {
    return this.#store.latest(key, ['succeeded'])
  }

  get stopping(): boolean {
    return this.#stopping
  }

  counts(): Record<JobState, number> {
    return this.#store.countByState()
  }

  /** Asks a queued or running job to end; it does so at its next step. Throws JOB_NOT_FOUND, JOB_FINISHED. */
  cancel(id: string): JobRow {
    const row = this.get(id)
    const live = this.#live.get(id)
    if (live === undefined) throw new ServerError('JOB_FINISHED', `job ${id} has ${row.state} already`, { job: id })
    live.abort.abort(new ServerError('CANCELLED', 'cancelled on request'))
    if (row.state === 'queued') this.#drop(live)
    return this.get(id)
  }

  /** Calls `listener` now with the present state, and with every later one. Returns how to stop listening. */
  watch(id: string, listener: JobListener): () => void {
    listener(this.get(id))
    const set = this.#listeners.get(id) ?? new Set()
    this.#listeners.set(id, set.add(listener))
    return () => {
      set.delete(listener)
      if (set.size === 0) this.#listeners.delete(id)
    }
  }

  /** Lets running jobs finish until `deadline` aborts, then ends them as failed. Queued ones end at once. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping = true
    const reason = new ServerError('STOPPING', 'the server stopped before this job ended; submit it again')
    for (const live of [...this.#queue]) {
      live.abort.abort(reason)
      this.#drop(live)
    }
    const rest = [...this.#live.values()]
    const end = () => {
      for (const live of rest) live.abort.abort(reason)
    }
    if (deadline.aborted) end()
    deadline.addEventListener('abort', end, { once: true })
    await Promise.all(rest.map((live) => live.done))
    deadline.removeEventListener('abort', end)
  }

  #startNext(): void {
    while (this.#running < this.#parallel) {
      const live = this.#queue.shift()
      if (live === undefined) return
      this.#running += 1
      void this.#run(live)
    }
  }

  async #run(live: Live): Promise<void> {
    this.#change(live, { state: 'running', started: now() })
    const context = {
      id: live.row.id,
      signal: live.abort.signal,
      progress: (done: number, total: number) => this.#progress(live, done, total),
    }
    try {
      const result = await live.spec.run(context)
      this.#finish(live, { state: 'succeeded', done: live.row.total, result })
    } catch (error) {
      this.#fail(live, live.abort.signal.aborted ? live.abort.signal.reason : error)
    }
    this.#running -= 1
    this.#startNext()
  }

  #fail(live: Live, error: unknown): void {
    const failure = toFailure(error)
    if (failure.code === 'INTERNAL') this.#log.error({ job: live.row.id, err: error }, 'job failed')
    this.#finish(live, { state: failure.code === 'CANCELLED' ? 'cancelled' : 'failed', error: failure })
  }

  #drop(live: Live): void {
    this.#queue.splice(this.#queue.indexOf(live), 1)
    this.#fail(live, live.abort.signal.reason)
  }

  #progress(live: Live, done: number, total: number): void {
    if (live.abort.signal.aborted) return
    const time = performance.now()
    if (done < total && time - live.told < PROGRESS_MS) return
    live.told = time
    this.#change(live, { done, total })
  }

  #finish(live: Live, change: Partial<JobRow>): void {
    this.#live.delete(live.row.id)
    this.#change(live, { ...change, finished: now() })
    this.#log.info({ job: live.row.id, state: live.row.state }, 'job ended')
    live.settle()
  }

  #change(live: Live, change: Partial<JobRow>): void {
    live.row = { ...live.row, ...change, version: live.row.version + 1 }
    try {
      this.#store.put(live.row)
    } catch (error) {
      // Rows are disposable; the work, and whoever watches it, are not.
      this.#log.error({ job: live.row.id, err: error }, 'a job row could not be written')
    }
    for (const listener of this.#listeners.get(live.row.id) ?? []) listener(live.row)
  }
}

export function isFinal(state: JobState): boolean {
  return state !== 'queued' && state !== 'running'
}

function newLive(spec: JobSpec): Live {
  let settle = () => {}
  const done = new Promise<void>((resolve) => {
    settle = resolve
  })
  const row: JobRow = {
    id: `job_${randomBytes(16).toString('hex')}`,
    kind: 'merge',
    state: 'queued',
    key: spec.key,
    done: 0,
    total: 0,
    version: 1,
    created: now(),
    started: null,
    finished: null,
    request: spec.request,
    result: null,
    error: null,
  }
  return { row, spec, abort: new AbortController(), done, settle, told: Number.NEGATIVE_INFINITY }
}

/** What a job's owner may know of its failure; the rest goes to the log. */
function toFailure(error: unknown): JobFailure {
  if (error instanceof CodedError) return { code: error.code, message: error.message, detail: error.detail }
  return { code: 'INTERNAL', message: 'the job failed by a fault of the server; see its log', detail: {} }
}

function now(): string {
  return new Date().toISOString()
}
