/** Makes a failing input smaller while it fails in the same way. */
import { splice } from './mutate-bytes.ts'
import type { Target } from './target.ts'

const MOST_RUNS = 2000

/** What two failures must have in common: the kind of error and its message, numbers aside. */
export function kindOfFailure(error: unknown): string {
  const { name, message } = error instanceof Error ? error : { name: typeof error, message: String(error) }
  return `${name}: ${message.replaceAll(/\d+/g, '#').slice(0, 60)}`
}

/** Removes ever smaller ranges, then zeroes bytes. The target has been prepared. */
export async function minimise(target: Target, input: Uint8Array, error: unknown): Promise<Uint8Array> {
  const kind = kindOfFailure(error)
  let best = input
  let runs = 0
  const attempt = async (candidate: Uint8Array): Promise<boolean> => {
    const repaired = target.repair ? [candidate, target.repair(candidate)] : [candidate]
    for (const bytes of repaired) {
      if (runs++ >= MOST_RUNS || !(await failsWith(target, bytes, kind))) continue
      best = bytes
      return true
    }
    return false
  }
  for (let size = 2 ** Math.ceil(Math.log2(input.length + 1)); size >= 1; size /= 2) {
    let at = 0
    while (at < best.length) {
      const count = Math.min(size, best.length - at)
      if (!(await attempt(splice(best, at, count, new Uint8Array(0))))) at += size
    }
  }
  for (let at = 0; at < best.length; at++) {
    if (best[at] !== 0) await attempt(splice(best, at, 1, Uint8Array.of(0)))
  }
  return best
}

async function failsWith(target: Target, input: Uint8Array, kind: string): Promise<boolean> {
  try {
    await target.run(input)
    return false
  } catch (error) {
    return kindOfFailure(error) === kind
  }
}
