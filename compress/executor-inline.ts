/** Runs tasks in this thread, one after the other: for small inputs, tests and places without workers. */
import type { Executor, TaskInput, TaskName, TaskOutput } from './executor.ts'
import { TASKS } from './tasks.ts'

export function inlineExecutor(): Executor {
  let closed = false
  return {
    width: 1,
    async run<K extends TaskName>(name: K, input: TaskInput<K>, signal?: AbortSignal): Promise<TaskOutput<K>> {
      if (closed) throw new Error('the executor is closed')
      // A turn of the event loop between tasks: a server stays responsive, and an abort can arrive.
      await new Promise<void>((resolve) => setImmediate(resolve))
      signal?.throwIfAborted()
      const task = TASKS[name] as (input: TaskInput<K>) => Promise<TaskOutput<K>>
      return task(input)
    },
    async close() {
      closed = true
    },
  }
}
