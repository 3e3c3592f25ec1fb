/**
 * npm run fuzz -- [--cases N] [--seed S] [--target NAME[,NAME]] [--from I] [--out FOLDER]
 *
 * Runs N cases spread over the targets, one target after another, in a thread of their own that this one watches: a case
 * that takes too long, memory that grows too far and a thread that dies are findings like any other. A failing input is
 * written to FOLDER (.cache/fuzz), as it was and made smaller, with what repeats it.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { TARGETS } from './all-targets.ts'
import type { WorkerOrder, WorkerReport } from './fuzz-worker.ts'
import { inputOf } from './run-cases.ts'
import type { Target } from './target.ts'

/** Real cases take milliseconds; a machine that is busy stretches them. */
const MOST_SECONDS_PER_CASE = 20
/** Of the whole process; the largest case there is decodes to some tens of megabytes. */
const MOST_RESIDENT_BYTES = 1.5 * 2 ** 30
const HEAP_MEGABYTES = 512
/** Cases of one thread: then a fresh one, so that nothing grows unseen over a run of days. */
const CASES_PER_THREAD = 1_000_000
const LOOK_EVERY_MS = 500
const TELL_EVERY_MS = 10_000

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    target: { type: 'string', default: 'all' },
    from: { type: 'string', default: '0' },
    out: { type: 'string', default: '.cache/fuzz' },
  },
})
const seed = Number(values.seed)
const from = Number(values.from)
let problems = 0

const chosen = values.target === 'all' ? TARGETS : values.target.split(',').map(named)
const weights = chosen.reduce((sum, { weight }) => sum + weight, 0)
let total = 0
for (const target of chosen) {
  const cases = Math.ceil((Number(values.cases) * target.weight) / weights)
  for (let done = 0; done < cases; done += CASES_PER_THREAD) {
    const to = from + Math.min(cases, done + CASES_PER_THREAD)
    total += await runThread(target, from + done, to)
  }
}
say(`${total} cases, ${problems} problems, seed ${seed}`)
process.exitCode = problems === 0 ? 0 : 1

function named(name: string): Target {
  const target = TARGETS.find((one) => one.name === name)
  if (target === undefined) throw new Error(`no target ${name}; there are ${TARGETS.map((one) => one.name).join(', ')}`)
  return target
}

/** Cases [first, last) in a new thread. Returns how many were run. */
async function runThread(target: Target, first: number, last: number): Promise<number> {
  const progress = new SharedArrayBuffer(4)
  const order: WorkerOrder = { target: target.name, seed, from: first, to: last, progress }
  const worker = new Worker(new URL('./fuzz-worker.ts', import.meta.url), {
    workerData: order,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MEGABYTES },
  })
  const began = performance.now()
  const at = () => first + new Int32Array(progress)[0]!
  const stopWatching = watch(target, first, at, () => void worker.terminate())
  try {
    const report = await reportOf(worker)
    const seconds = (performance.now() - began) / 1000
    const outcomes = [...report.outcomes].sort((a, b) => b[1] - a[1]).map(([name, n]) => `${name} ${n}`)
    say(`${target.name}: ${report.cases} cases, ${Math.round(report.cases / seconds)}/s: ${outcomes.join(', ')}`)
    for (const failure of report.failures) write(target, failure.index, failure.error, failure.input, failure.small)
    return report.cases
  } catch (error) {
    await target.prepare?.()
    write(target, at(), `${error} (this case, or one of the few before it)`, inputOf(target, seed, at()))
    return at() - first
  } finally {
    stopWatching()
  }
}

function reportOf(worker: Worker): Promise<WorkerReport> {
  return new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Error(`the thread ended with ${code}`)))
  })
}

/** Looks at the clock and the memory from outside, for the thread itself may be stuck. */
function watch(target: Target, first: number, at: () => number, stop: () => void): () => void {
  let lastCase = -1
  const began = performance.now()
  let since = began
  let told = since
  const timer = setInterval(() => {
    const now = performance.now()
    if (at() !== lastCase) since = now
    lastCase = at()
    const resident = process.memoryUsage.rss()
    if (now - since > MOST_SECONDS_PER_CASE * 1000) say(`${target.name}: case ${lastCase} takes too long`)
    else if (resident > MOST_RESIDENT_BYTES) say(`${target.name}: ${resident} bytes of memory at case ${lastCase}`)
    else {
      if (now - told < TELL_EVERY_MS) return
      told = now
      const rate = Math.round(((lastCase - first) / (now - began)) * 1000)
      say(`${target.name}: case ${lastCase}, ${rate}/s, ${Math.round(resident / 2 ** 20)} MiB`)
      return
    }
    clearInterval(timer)
    stop()
  }, LOOK_EVERY_MS)
  return () => clearInterval(timer)
}

function write(target: Target, index: number, error: string, input: Uint8Array, small?: Uint8Array): void {
  problems++
  mkdirSync(values.out, { recursive: true })
  const path = `${values.out}/${target.name}-${seed}-${index}`
  writeFileSync(`${path}.bin`, input)
  if (small !== undefined) writeFileSync(`${path}.small.bin`, small)
  const again = `npm run fuzz -- --target ${target.name} --seed ${seed} --from ${index} --cases 1`
  writeFileSync(`${path}.txt`, `${error}\n\n${again}\n`)
  say(`PROBLEM ${path}: ${error.split('\n').slice(0, 3).join(' ')}`)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
