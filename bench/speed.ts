/**
 * Speed as ratios to what the machine itself does in the same run -> bench/results/speed.md. usage: node bench/speed.ts
 *
 * memcpy: TypedArray.set of the same output into memory that is there already. One thread: CPU time, median of rounds
 * that take turns. Two threads and files: wall time, best of the rounds, because others may use the machine.
 * TERN_BENCH_MB: size of the synthetic model (default 512). PYTHON: an interpreter with torch, for bench/pyref.py.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { addTo, type CodedFrame, compressTensor, decodeToBf16, select } from './coding.ts'
import { interleaved } from './measure.ts'
import { MATRIX_BYTES, normalBf16, writeModels } from './synthetic.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const CHILD = join(ROOT, 'bench/speed-child.ts')
const DENSITIES = [0.05, 0.1, 0.2]
const ENTRIES = 2 ** 25
const COLS = 4096
const ROUNDS = 7
const run = promisify(execFile)

const lines: string[] = []
function say(line = ''): void {
  console.log(line)
  lines.push(line)
}

function row(...cells: (string | number)[]): void {
  say(`| ${cells.join(' | ')} |`)
}

function describeMachine(): void {
  const model = cpus()[0]?.model.trim() ?? 'unknown'
  const load = loadavg()[0]?.toFixed(1)
  say('# Speed')
  say()
  say('Written by `npm run bench`; bench/speed.ts says how each number is taken.')
  say()
  say(`Machine: ${model}, ${cpus().length} cores, Node ${process.version}, load average ${load} at the start.`)
  say()
}

const TARGETS: Record<string, number[]> = {
  'decode to bf16': [0.35, 0.2, 0.11],
  'decode and add to bf16': [0.3, 0, 0],
  'decode and add to f32': [0.3, 0, 0],
  compress: [0.07, 0, 0],
}

async function oneThread(): Promise<void> {
  say('## One thread, against memcpy of the same output')
  say()
  row('density', 'work', 'Gentries/s', 'ratio to memcpy', 'target')
  row('---', '---', '---', '---', '---')
  const codes = normalBf16(ENTRIES, 0.02, 1)
  for (const [i, density] of DENSITIES.entries()) {
    const frames = await compressTensor(codes, COLS, density)
    const out = codes.slice()
    const acc = new Float32Array(ENTRIES)
    const wide = new Float32Array(ENTRIES).fill(1)
    const times = await interleaved(ROUNDS, {
      'memcpy bf16': () => out.set(codes),
      'memcpy f32': () => acc.set(wide),
      'decode to bf16': () => decodeToBf16(frames, out),
      'decode and add to bf16': () => addTo(frames, out),
      'decode and add to f32': () => addTo(frames, acc),
      'exact threshold and trits': () => select(codes, density),
      compress: () => compressTensor(codes, COLS, density),
    })
    for (const [work, ms] of Object.entries(times)) {
      const memcpy = work.endsWith('f32') ? times['memcpy f32'] : times['memcpy bf16']
      const target = TARGETS[work]?.[i] || '-'
      row(density, work, (ENTRIES / ms / 1e6).toFixed(2), (memcpy / ms).toFixed(3), target)
    }
  }
  say()
}

/** Wall milliseconds of `rounds` decodes by each of the threads, which share the frames. */
async function decodeByThreads(groups: readonly CodedFrame[][], rounds: number): Promise<() => Promise<number>> {
  const workers = groups.map((frames) => new Worker(CHILD, { workerData: { frames, length: ENTRIES } }))
  const answers = () => Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))))
  await answers()
  return async () => {
    const start = performance.now()
    const done = answers()
    for (const worker of workers) worker.postMessage(rounds)
    await done
    return performance.now() - start
  }
}

async function twoThreads(): Promise<void> {
  const frames = await compressTensor(normalBf16(ENTRIES, 0.02, 1), COLS, 0.05)
  const half = frames.length >> 1
  const one = await decodeByThreads([frames], 3)
  const two = await decodeByThreads([frames.slice(0, half), frames.slice(half)], 3)
  const best = { one: Number.POSITIVE_INFINITY, two: Number.POSITIVE_INFINITY }
  for (let round = 0; round < 25; round++) {
    best.one = Math.min(best.one, await one())
    best.two = Math.min(best.two, await two())
  }
  say('## Two threads, decode to bf16 at density 0.05')
  say()
  say(`${(best.one / best.two).toFixed(2)} x the rate of one (target 1.5).`)
  say()
}

interface ChildResult {
  readonly ms: number
  readonly cpuMs: number
  readonly idle: number
  readonly peak: number
}

async function child(...args: string[]): Promise<ChildResult> {
  return JSON.parse((await run(process.execPath, [CHILD, ...args])).stdout)
}

const MB = 2 ** 20
const mb = (bytes: number) => (bytes / MB).toFixed(0)

async function wholeModel(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tern-bench-'))
  try {
    for (const name of ['base', 'expert']) mkdirSync(join(folder, name))
    writeModels(folder, Math.max(2, Math.round((Number(process.env.TERN_BENCH_MB ?? 512) * MB) / MATRIX_BYTES)))
    await compressModel(folder)
    await reconstructModel(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function compressModel(folder: string): Promise<void> {
  const input = statSync(join(folder, 'expert/model.safetensors')).size
  say(`## A full fine-tune of ${mb(input)} MB in matrices of ${mb(MATRIX_BYTES)} MB, with a base of that size`)
  say()
  const one = await child('compress', folder, '1', '0.05')
  const two = await child('compress', folder, '2', '0.05')
  const file = statSync(join(folder, 'expert.tern')).size
  const allowed = MATRIX_BYTES + 64 * MB + 0.03 * input
  const rate = (ms: number) => (input / 2 / ms / 1e6).toFixed(2)
  say(
    `- compress at density 0.05 to ${mb(file)} MB: ${rate(one.ms)} Gentries/s with one worker, ${rate(two.ms)} with two;`,
  )
  say(`  CPU ${(one.cpuMs / 1000).toFixed(1)} s and ${(two.cpuMs / 1000).toFixed(1)} s`)
  for (const [workers, { peak, idle }] of [[1, one] as const, [2, two] as const])
    say(
      `- peak memory, ${workers} worker(s): ${mb(peak - idle)} MB above the idle process of ${mb(idle)} MB (target ${mb(allowed)})`,
    )
}

async function reconstructModel(folder: string): Promise<void> {
  const source = join(folder, 'expert/model.safetensors')
  const copies: number[] = []
  const ours: ChildResult[] = []
  for (let round = 0; round < 3; round++) {
    const start = performance.now()
    await run('cp', [source, join(folder, 'copy.safetensors')])
    copies.push(performance.now() - start)
    rmSync(join(folder, 'copy.safetensors'))
    ours.push(await child('reconstruct', folder))
    rmSync(join(folder, 'again.safetensors'))
  }
  const best = Math.min(...ours.map(({ ms }) => ms))
  const cp = Math.min(...copies)
  const peak = Math.max(...ours.map(({ peak, idle }) => peak - idle))
  say(
    `- reconstruct from base and container: ${(best / 1000).toFixed(2)} s, cp of the file ${(cp / 1000).toFixed(2)} s:`,
  )
  say(`  ${(best / cp).toFixed(2)} x (target 1.15); peak memory ${mb(peak)} MB above the idle process`)
  say()
}

/** The same steps as Python users take them. */
async function pythonWay(): Promise<void> {
  const python = process.env.PYTHON
  if (python === undefined || !existsSync(python)) {
    say(
      'PYTHON is not set to an interpreter with torch: the comparison with kthvalue + sign * std + Golomb is left out.',
    )
    return
  }
  const codes = normalBf16(2 ** 23, 0.02, 1)
  const ms = await interleaved(3, {
    threshold: () => select(codes, 0.05),
    all: () => compressTensor(codes, COLS, 0.05),
  })
  const reference = JSON.parse((await run(python, [join(ROOT, 'bench/pyref.py'), String(codes.length), '0.05'])).stdout)
  say('## Against the Python way, one thread, CPU time')
  say()
  say(
    `- exact threshold and trits: ${(reference.kthvalue_ms / ms.threshold).toFixed(0)} x torch kthvalue alone (target 40)`,
  )
  say(`- compress: ${(reference.total_ms / ms.all).toFixed(0)} x kthvalue + sign * std + Golomb loop (target 20)`)
}

describeMachine()
await oneThread()
await twoThreads()
await wholeModel()
await pythonWay()
say()
say(`Load average ${loadavg()[0]?.toFixed(1)} at the end.`)
mkdirSync(join(ROOT, 'bench/results'), { recursive: true })
writeFileSync(join(ROOT, 'bench/results/speed.md'), `${lines.join('\n')}\n`)
process.exit(0)
