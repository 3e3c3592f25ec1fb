/**
 * Bits that the order-0 model needs, for the encoder's choices. Own logarithm: Math.log2 may differ between engines in
 * the last bit, and then the same tensor would get different bytes.
 */

const SERIES_TERMS = 10 // |t| <= 0.1716 below: the first term left out is under 1e-17

/** x log2 x for an integer 0 <= x < 2^31. */
function xLog2x(x: number): number {
  if (x <= 1) return 0
  let exponent = 31 - Math.clz32(x)
  let mantissa = x / (1 << exponent)
  if (mantissa > Math.SQRT2) {
    mantissa /= 2
    exponent++
  }
  // ln m = 2 (t + t^3/3 + t^5/5 + ...) with t = (m - 1) / (m + 1)
  const t = (mantissa - 1) / (mantissa + 1)
  const square = t * t
  let sum = 0
  for (let i = SERIES_TERMS; i >= 0; i--) sum = sum * square + 1 / (2 * i + 1)
  return x * (exponent + 2 * t * sum * Math.LOG2E)
}

/** cells * H(nonZeros / cells): bits to say which of `cells` entries are the `nonZeros`, each place equally likely. */
export function positionBits(cells: number, nonZeros: number): number {
  return xLog2x(cells) - xLog2x(nonZeros) - xLog2x(cells - nonZeros)
}
