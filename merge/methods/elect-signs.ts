/**
 * Sign election and disjoint sum of TIES (Yadav et al. 2023, steps "elect" and "merge"), on weighted differences.
 * Works through blocks that fit a core's cache; the f32 arrays give each operation its one rounding.
 */

const BLOCK = 4096

/**
 * Replaces the first array by the elected sum: of the entries D_k only those with the sign of sum D_k count (a sum of
 * zero elects +1, a zero entry never counts). With `normalize` the sum is divided by the weights that counted, unless
 * they sum to 0. A NaN stays NaN. Returns the share of conflicts among the entries that any D_k changes.
 */
export function electAndSum(
  weighted: readonly Float32Array[],
  weights: readonly number[],
  normalize: boolean,
): { num: Float32Array; conflictShare: number } {
  const out = weighted[0]!
  const elected = new Float32Array(BLOCK)
  const num = new Float32Array(BLOCK)
  const divisor = new Float32Array(BLOCK)
  const against = new Float32Array(BLOCK)
  const count = { touched: 0, conflicts: 0 }
  for (let start = 0; start < out.length; start += BLOCK) {
    for (const block of [elected, num, divisor, against]) block.fill(0)
    const parts = weighted.map((values) => values.subarray(start, start + BLOCK))
    for (const part of parts) add(part, elected)
    for (let i = 0; i < BLOCK; i++) elected[i] = elected[i]! >= 0 ? 1 : -1
    for (const [k, part] of parts.entries()) collect(part, weights[k]!, elected, num, divisor, against)
    finish(parts[0]!, elected, num, divisor, normalize)
    tally(num, against, count)
  }
  return { num: out, conflictShare: count.touched === 0 ? 0 : count.conflicts / count.touched }
}

function add(part: Float32Array, total: Float32Array): void {
  for (let i = 0; i < part.length; i++) total[i] = total[i]! + part[i]!
}

/**
 * Multiplied by the elected sign, an entry is positive where it agrees; `max` and `min` then split the sum without a
 * branch. Signs change no rounding.
 */
function collect(
  part: Float32Array,
  weight: number,
  elected: Float32Array,
  num: Float32Array,
  divisor: Float32Array,
  against: Float32Array,
): void {
  for (let i = 0; i < part.length; i++) {
    const value = part[i]! * elected[i]!
    num[i] = num[i]! + Math.max(value, 0)
    against[i] = Math.min(against[i]!, value)
    divisor[i] = divisor[i]! + weight * Number(value > 0)
  }
}

function finish(
  out: Float32Array,
  elected: Float32Array,
  num: Float32Array,
  divisor: Float32Array,
  normalize: boolean,
): void {
  for (let i = 0; i < out.length; i++) {
    const sum = num[i]! * elected[i]!
    out[i] = normalize && divisor[i] !== 0 ? sum / divisor[i]! : sum
  }
}

function tally(num: Float32Array, against: Float32Array, count: { touched: number; conflicts: number }): void {
  for (let i = 0; i < num.length; i++) {
    const agree = num[i]! !== 0
    const oppose = against[i]! < 0
    if (agree || oppose) count.touched++
    if (agree && oppose) count.conflicts++
  }
}
