/** Runs a named task somewhere: in this thread, or in a worker pool (compress/node/worker-pool.ts). */
export interface Executor {
  /** Tasks that may run at once. */
  readonly width: number
  run<K extends TaskName>(name: K, input: TaskInput<K>, signal?: AbortSignal): Promise<TaskOutput<K>>
  close(): Promise<void>
}

import type { TASKS } from './tasks.ts'

export type TaskName = keyof typeof TASKS
export type TaskInput<K extends TaskName> = Parameters<(typeof TASKS)[K]>[0]
export type TaskOutput<K extends TaskName> = Awaited<ReturnType<(typeof TASKS)[K]>>
