/** A worker for tests of the pool: does what the tensor's name of the request tells it to do. */
import { setTimeout as delay } from 'node:timers/promises'
import type { TaskRequest } from '../../../../compress/node/worker.ts'
import type { Unit } from '../../../../compress/task-vector.ts'

async function runTask(request: TaskRequest): Promise<unknown> {
  const { unit } = request.input as { unit: Unit }
  const name = unit.kind === 'tensor' ? unit.tensor.name : unit.module
  if (name === 'die') process.exit(3)
  if (name === 'bug') throw new TypeError('a bug in a task')
  if (name === 'slow') await delay(3_600_000)
  return { value: name }
}

export { runTask as default }
