/** Changed containers through both readers, which share no line of code: the same bytes, or the same refusal. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { openContainer } from '../../compress/container-reader.ts'
import { reconstructedSource } from '../../compress/reconstruct.ts'
import { CodedError } from '../../errors.ts'
import { memorySource } from '../../tensors/byte-source.ts'
import { elementCount } from '../../tensors/tensor.ts'
import { containerTarget } from './container-target.ts'
import { inputOf } from './run-cases.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** As in outcomes.py. */
const MOST_ENTRIES = 20_000
const CASES = Number(process.env['FUZZ_PYTHON_CASES'] ?? 600)
const SEED = Number(process.env['FUZZ_PYTHON_SEED'] ?? 1)

const usable = 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))'
const hasPython = spawnSync('python3', ['-c', usable]).status === 0

type Outcome = string | [name: string, outcome: string][]

async function outcomeOf<T>(work: () => Promise<T>): Promise<T | string> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof CodedError) return error.code
    throw error
  }
}

async function readAll(file: Uint8Array): Promise<Outcome> {
  const container = await openContainer(memorySource(file))
  if (container.tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0) > MOST_ENTRIES) return 'large'
  const source = reconstructedSource(container)
  const outcomes: [string, string][] = []
  for (const { name, storage } of container.tensors) {
    const read = async () => {
      // First, as Python does it: a tensor may be damaged and want the base too.
      if (storage === 'trits') await container.readTrits(name)
      const bytes = await source.readBytes(name)
      return createHash('sha256').update(bytes).digest('hex')
    }
    outcomes.push([name, await outcomeOf(read)])
  }
  return outcomes
}

function pythonOutcomes(files: readonly Uint8Array[]): Outcome[] {
  const folder = mkdtempSync(join(tmpdir(), 'tern-fuzz-'))
  try {
    const path = join(folder, 'cases')
    writeFileSync(path, Buffer.concat(files.flatMap((file) => [lengthOf(file), file])))
    const { stdout, stderr, status } = spawnSync(
      join(ROOT, 'scripts/with-python.sh'),
      ['python', join(ROOT, 'test/fuzz/outcomes.py'), path],
      {
        encoding: 'utf8',
        env: { ...process.env, PYTHONPATH: join(ROOT, 'python') },
        maxBuffer: 2 ** 28,
      },
    )
    expect([status, stderr]).toEqual([0, ''])
    return stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Outcome)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function lengthOf(file: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, file.length, true)
  return bytes
}

describe.skipIf(!hasPython && process.env['CI'] !== 'true')('mutated containers', () => {
  test('are to the Python reader what they are to this one', { timeout: 1_800_000 }, async () => {
    await containerTarget.prepare?.()
    const files = Array.from({ length: CASES }, (_, i) => inputOf(containerTarget, SEED, i))
    const python = pythonOutcomes(files)
    expect(python).toHaveLength(CASES)
    const differences: unknown[] = []
    let read = 0
    for (const [i, file] of files.entries()) {
      const ours = await outcomeOf(() => readAll(file))
      if (JSON.stringify(ours) !== JSON.stringify(python[i])) differences.push({ case: i, ours, python: python[i] })
      if (Array.isArray(ours)) read++
    }
    expect(differences).toEqual([])
    expect(read).toBeGreaterThan(CASES / 10)
  })
})
