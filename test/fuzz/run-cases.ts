/** Runs cases of a target and collects what went wrong. Case i of a seed is the same input wherever it is run. */
import { caseSeed, Dice } from './dice.ts'
import type { Target } from './target.ts'

export interface Failure {
  readonly target: string
  readonly seed: number
  readonly index: number
  readonly error: unknown
  readonly input: Uint8Array
}

export interface Tally {
  cases: number
  /** How often each outcome came. */
  readonly outcomes: Map<string, number>
  readonly failures: Failure[]
}

export interface RunOptions {
  readonly seed: number
  /** Numbers of the cases: [from, to). */
  readonly from?: number
  readonly to: number
  /** Told before a case starts. */
  readonly onCase?: (index: number) => void
  readonly mostFailures?: number
}

export function inputOf(target: Target, seed: number, index: number): Uint8Array {
  return target.generate(new Dice(caseSeed(seed, target.name, index)))
}

/** The target has been prepared. Stops early after `mostFailures` (20). */
export async function runCases(target: Target, options: RunOptions): Promise<Tally> {
  const tally: Tally = { cases: 0, outcomes: new Map(), failures: [] }
  const { from = 0, to, mostFailures = 20 } = options
  let next = from
  const lane = async () => {
    while (next < to && tally.failures.length < mostFailures) {
      const index = next++
      options.onCase?.(index)
      // Only what waits is awaited: a promise for each case would cost more than many cases do.
      const pending = runOne(target, options.seed, index, tally)
      if (pending !== undefined) await pending
    }
  }
  await Promise.all(Array.from({ length: target.width ?? 1 }, lane))
  return tally
}

function runOne(target: Target, seed: number, index: number, tally: Tally): Promise<void> | undefined {
  tally.cases++
  const input = inputOf(target, seed, index)
  const fail = (error: unknown) => {
    tally.failures.push({ target: target.name, seed, index, error, input })
  }
  const count = (outcome: string) => {
    tally.outcomes.set(outcome, (tally.outcomes.get(outcome) ?? 0) + 1)
  }
  try {
    const outcome = target.run(input)
    if (typeof outcome !== 'string') return outcome.then(count, fail)
    count(outcome)
  } catch (error) {
    fail(error)
  }
  return undefined
}
