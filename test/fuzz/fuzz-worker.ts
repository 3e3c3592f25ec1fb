/** The thread of a fuzzing run: works through its cases and tells the watching thread how far it is. */
import { createHash } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import { TARGETS } from './all-targets.ts'
import { minimise } from './minimise.ts'
import { runCases } from './run-cases.ts'

export interface WorkerOrder {
  readonly target: string
  readonly seed: number
  readonly from: number
  readonly to: number
  /** [0]: number of the case that is about to start, less `from`. */
  readonly progress: SharedArrayBuffer
}

export interface WorkerReport {
  readonly cases: number
  readonly outcomes: ReadonlyMap<string, number>
  readonly failures: readonly { index: number; error: string; input: Uint8Array; small: Uint8Array }[]
}

// The platform's SHA-256 goes to another thread and back, which takes longer than all else about a small container.
crypto.subtle.digest = async (_, data) =>
  new Uint8Array(
    createHash('sha256')
      .update(new Uint8Array(data as ArrayBuffer))
      .digest(),
  ).buffer

const order = workerData as WorkerOrder
const progress = new Int32Array(order.progress)
const target = TARGETS.find(({ name }) => name === order.target)!

// Refusals are by the million here, and half of what they cost is their traces.
Error.stackTraceLimit = 0
await target.prepare?.()
const tally = await runCases(target, {
  ...order,
  onCase: (index) => {
    progress[0] = index - order.from
  },
})
Error.stackTraceLimit = 12
const failures: WorkerReport['failures'][number][] = []
for (const { index, error, input } of tally.failures) {
  const small = await minimise(target, input, error)
  failures.push({ index, input, small, error: await traceOf(small, error) })
}
const report: WorkerReport = { cases: tally.cases, outcomes: tally.outcomes, failures }
parentPort!.postMessage(report)

/** The error again, with its trace. */
async function traceOf(input: Uint8Array, first: unknown): Promise<string> {
  try {
    await target.run(input)
    return `${first} (not when run again)`
  } catch (error) {
    return String((error as Error).stack ?? error)
  }
}
