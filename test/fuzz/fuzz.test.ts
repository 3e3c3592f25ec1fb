import { describe, expect, test } from 'vitest'
import { TARGETS } from './all-targets.ts'
import { Dice } from './dice.ts'
import { GuardedHeap } from './guarded-heap.ts'
import { minimise } from './minimise.ts'
import { inputOf, runCases } from './run-cases.ts'
import type { Target } from './target.ts'

/** A few seconds in all; `npm run fuzz` runs as many as it is asked for. */
const CASES: Readonly<Record<string, number>> = { container: 1500, recipe: 400, zstd: 1500, 'adapter-config': 2000 }
const SEED = 2311_13171

describe.each(TARGETS)('mutated input: $name', (target) => {
  test('gives the right answer or a coded refusal', { timeout: 120_000 }, async () => {
    await target.prepare?.()
    const cases = CASES[target.name] ?? 4000
    const tally = await runCases(target, { seed: SEED, to: cases })
    expect(tally.failures.map(({ index, error }) => [index, String(error)])).toEqual([])
    expect(tally.cases).toBe(cases)
    // Neither all refused nor none: otherwise the mutations are too coarse, or do nothing.
    const accepted = [...tally.outcomes].filter(([name]) => name.includes('accepted'))
    const share = accepted.reduce((sum, [, n]) => sum + n, 0) / cases
    expect(share).toBeGreaterThan(0.02)
    expect(share).toBeLessThan(0.7)
  })

  test('is the same for the same seed and number', async () => {
    await target.prepare?.()
    for (const index of [0, 1, 77]) expect(inputOf(target, 5, index)).toEqual(inputOf(target, 5, index))
    expect(inputOf(target, 5, 0)).not.toEqual(inputOf(target, 6, 0))
  })
})

/** Fails for inputs that hold a 7 after a 9. */
const planted: Target = {
  name: 'planted',
  weight: 1,
  generate: (dice) => dice.bytes(60).map((byte) => byte % 10),
  run(input) {
    const nine = input.indexOf(9)
    if (nine >= 0 && input.indexOf(7, nine) > nine) throw new TypeError(`planted at ${nine}`)
    return 'accepted'
  },
}

describe('the fuzzer itself', () => {
  test('finds a planted bug and names the case', async () => {
    const { failures } = await runCases(planted, { seed: 1, to: 100, mostFailures: 3 })
    expect(failures.length).toBeGreaterThanOrEqual(3)
    const [{ index, input } = { index: -1, input: new Uint8Array(0) }] = failures
    expect(inputOf(planted, 1, index)).toEqual(input)
    expect(() => planted.run(input)).toThrow(TypeError)
  })

  test('makes a failing input as small as it can be', async () => {
    const { failures } = await runCases(planted, { seed: 1, to: 100, mostFailures: 1 })
    expect(await minimise(planted, failures[0]!.input, failures[0]!.error)).toEqual(Uint8Array.of(9, 7))
  })

  test.each([
    ['before', -1],
    ['behind', 32],
  ])('sees a write %s a block of the kernels', (where, offset) => {
    const heap = new GuardedHeap()
    heap.keep(100)
    const block = heap.take(24)
    heap.take(10)
    heap.bytes(block, 24).fill(1)
    heap.check()
    heap.bytes(block + offset, 1)[0] = 1
    expect(() => heap.release()).toThrow(`a write ${where} a block of 24 bytes`)
  })

  test('draws every number below a bound', () => {
    const dice = new Dice(1)
    const drawn = new Set(Array.from({ length: 200 }, () => dice.below(10)))
    expect([...drawn].sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  })
})
