/**
 * What runs inside a pool's thread: one task of the table. Errors cross threads as plain data, because a structured
 * clone would strip a CodedError of its code and detail.
 */
import { CodedError } from '../../errors.ts'
import type { TaskInput, TaskName, TaskOutput } from '../executor.ts'
import { TASKS } from '../tasks.ts'

export interface TaskRequest<K extends TaskName = TaskName> {
  readonly name: K
  readonly input: TaskInput<K>
}

export type TaskResponse<K extends TaskName = TaskName> =
  | { readonly value: TaskOutput<K> }
  | { readonly failure: CodedFailure }

/** A CodedError as data; `type` is the name of its class. */
export interface CodedFailure {
  readonly type: string
  readonly code: string
  readonly message: string
  readonly detail: Readonly<Record<string, unknown>>
}

export default async function runTask<K extends TaskName>({ name, input }: TaskRequest<K>): Promise<TaskResponse<K>> {
  const task = TASKS[name] as (input: TaskInput<K>) => Promise<TaskOutput<K>>
  try {
    return { value: await task(input) }
  } catch (error) {
    if (!(error instanceof CodedError)) throw error
    return { failure: { type: error.name, code: error.code, message: error.message, detail: error.detail } }
  }
}
