/**
 * The scales of one LoRA component: a row of A and a column of B, in bf16 each. Only their product acts, and one bf16
 * for both would miss it by up to 2^-8; two that differ a little come within about 2^-15 (ALGORITHM.md, "Component
 * scales"; docs/decisions/0007-component-scales.md).
 */
import { fromF32, toF32 } from '../tensors/dtype.ts'

/** bf16 steps to either side of the square root that are tried for A's scale. */
const REACH = 32

/**
 * (a, b), both bf16, with a * b as near to `product` (>= 0) as a within REACH steps of its root allows; the first of
 * equals in the order 0, +1, -1, +2, -2 ... (0, 0) for zero. Not finite where the root is beyond bf16.
 */
export function scaleFactors(product: number): readonly [a: number, b: number] {
  const root = roundToBf16(Math.sqrt(product))
  if (root === 0 || !Number.isFinite(root)) return [root, root]
  let best: readonly [number, number] = [root, roundToBf16(product / root)]
  for (let step = 1; step <= REACH; step++) {
    for (const a of [shifted(root, step), shifted(root, -step)]) {
      const pair = [a, roundToBf16(product / a)] as const
      if (errorOf(pair, product) < errorOf(best, product)) best = pair
    }
  }
  return best
}

/** The bf16 number that, for A and B alike, comes nearest to a product: half the bytes of two that differ. */
export function equalFactors(product: number): number {
  return roundToBf16(Math.sqrt(product))
}

/** Not a number where a or b has left the positive finite numbers, so that it never wins. */
function errorOf([a, b]: readonly [number, number], product: number): number {
  const usable = a > 0 && b > 0 && Number.isFinite(a) && Number.isFinite(b)
  return usable ? Math.abs(a * b - product) : Number.POSITIVE_INFINITY
}

/** The bf16 number `steps` above `value`, a positive bf16. */
function shifted(value: number, steps: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)
  bits[0] = (bits[0] as number) + steps * 2 ** 16
  return new Float32Array(bits.buffer)[0] as number
}

/** To f32, then to bf16, each to nearest even. */
function roundToBf16(value: number): number {
  return toF32(fromF32(Float32Array.of(value), 'BF16'), 'BF16')[0] as number
}
