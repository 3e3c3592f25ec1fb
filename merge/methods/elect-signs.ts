/**
 * Sign election and disjoint sum of TIES (Yadav et al. 2023, steps "elect" and "merge"), on weighted differences.
 * Works through blocks that fit a core's cache; the f32 arrays give each operation its one rounding.
 */

const BLOCK = 4096
const POSITIVE = 1
const NEGATIVE = 2

/**
 * Replaces the first array by the elected sum: of the entries D_k only those with the sign of sum D_k count (a sum of
 * zero elects +1, a zero entry never counts). With `normalize` the sum is divided by the weights that counted, unless
 * they sum to 0. Returns the share of conflicts among the entries that any D_k changes.
 */
export function electAndSum(
  weighted: readonly Float32Array[],
  weights: readonly number[],
  normalize: boolean,
): { num: Float32Array; conflictShare: number } {
  const out = weighted[0]!
  const total = new Float32Array(BLOCK)
  const divisor = new Float32Array(BLOCK)
  const num = new Float32Array(BLOCK)
  const signs = new Uint8Array(BLOCK)
  const count = { touched: 0, conflicts: 0 }
  for (let start = 0; start < out.length; start += BLOCK) {
    for (const block of [total, divisor, num, signs]) block.fill(0)
    const parts = weighted.map((values) => values.subarray(start, start + BLOCK))
    for (const part of parts) castVotes(part, total, signs)
    for (const [k, part] of parts.entries()) collect(part, weights[k]!, total, num, divisor)
    const result = parts[0]!
    for (let i = 0; i < result.length; i++) result[i] = normalize && divisor[i] !== 0 ? num[i]! / divisor[i]! : num[i]!
    tally(signs, count)
  }
  return { num: out, conflictShare: count.touched === 0 ? 0 : count.conflicts / count.touched }
}

function castVotes(part: Float32Array, total: Float32Array, signs: Uint8Array): void {
  for (let i = 0; i < part.length; i++) {
    const value = part[i]!
    total[i] = total[i]! + value
    if (value > 0) signs[i]! |= POSITIVE
    else if (value < 0) signs[i]! |= NEGATIVE
  }
}

function collect(
  part: Float32Array,
  weight: number,
  total: Float32Array,
  num: Float32Array,
  divisor: Float32Array,
): void {
  for (let i = 0; i < part.length; i++) {
    const value = part[i]!
    if (total[i]! >= 0 ? !(value > 0) : !(value < 0)) continue
    num[i] = num[i]! + value
    divisor[i] = divisor[i]! + weight
  }
}

function tally(signs: Uint8Array, count: { touched: number; conflicts: number }): void {
  for (let i = 0; i < signs.length; i++) {
    if (signs[i] === 0) continue
    count.touched++
    if (signs[i] === (POSITIVE | NEGATIVE)) count.conflicts++
  }
}
