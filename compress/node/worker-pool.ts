/** Runs tasks in worker threads. Threads start with the first task and end when idle or closed. */
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Piscina } from 'piscina'
import { TensorError, type TensorErrorCode } from '../../tensors/errors.ts'
import { CompressError, type CompressErrorCode } from '../errors.ts'
import type { Executor, TaskInput, TaskName, TaskOutput } from '../executor.ts'
import type { CodedFailure, TaskRequest, TaskResponse } from './worker.ts'

/** An idle thread keeps the memory of the largest tensor it has seen. */
const IDLE_MILLISECONDS = 10_000

const WORKER_FILE = fileURLToPath(new URL('./worker.ts', import.meta.url))

/**
 * At most `threads` tasks at once (default: one per core); more wait. An abort ends the thread that runs the task and
 * rejects with the signal's reason. A thread that dies rejects its task; later tasks get a new thread.
 * `workerFile`: a module with the default export of worker.ts.
 */
export function workerPool(threads: number = availableParallelism(), workerFile: string = WORKER_FILE): Executor {
  let pool: Piscina | undefined
  let closed = false
  const pending = new Set<(reason: unknown) => void>()
  const open = () => {
    if (closed) throw new Error('the worker pool is closed')
    pool ??= newPool(threads, workerFile, (error) => {
      for (const reject of pending) reject(error)
    })
    return pool
  }
  return {
    width: threads,
    async run<K extends TaskName>(name: K, input: TaskInput<K>, signal?: AbortSignal): Promise<TaskOutput<K>> {
      signal?.throwIfAborted()
      const request: TaskRequest<K> = { name, input }
      const response = await settled<TaskResponse<K>>(pending, open().run(request, signal ? { signal } : {}), signal)
      if ('failure' in response) throw codedError(response.failure)
      return response.value
    },
    async close() {
      closed = true
      await pool?.destroy()
    },
  }
}

function newPool(threads: number, filename: string, onError: (error: unknown) => void): Piscina {
  const pool = new Piscina({
    filename,
    // One is kept (it does not hold the process): with none left, a dead thread would leave waiting tasks waiting.
    minThreads: 1,
    maxThreads: Math.max(1, threads),
    idleTimeout: IDLE_MILLISECONDS,
  })
  // Raised for a thread that fails without a task of its own, as at start: the tasks that wait for it must hear of it.
  pool.on('error', onError)
  return pool
}

/** `result`, unless the pool fails first; an abort gives the signal's reason. */
async function settled<T>(
  pending: Set<(reason: unknown) => void>,
  result: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  let fail: (reason: unknown) => void = () => {}
  const failed = new Promise<never>((_, reject) => {
    fail = reject
  })
  pending.add(fail)
  try {
    return await Promise.race([result, failed])
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  } finally {
    pending.delete(fail)
  }
}

function codedError({ type, code, message, detail }: CodedFailure): Error {
  if (type === 'CompressError') return new CompressError(code as CompressErrorCode, message, detail)
  if (type === 'TensorError') return new TensorError(code as TensorErrorCode, message, detail)
  return new Error(`${type} ${code}: ${message}`)
}
