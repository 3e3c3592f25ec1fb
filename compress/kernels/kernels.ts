/**
 * The hot loops, as an interface with two implementations that agree bit for bit: wasm.ts (AssemblyScript, SIMD128)
 * and js.ts (the readable reference). Every float is IEEE binary32 rounded to nearest even unless said otherwise.
 * Inputs are not modified except where a parameter is named `acc` or `out`. Results of arithmetic that are NaN are
 * stored as 0x7fc00000; conversions keep a NaN's sign and payload. `weight` and `factor` are rounded to f32 first.
 */
export interface Kernels {
  readonly name: 'js' | 'wasm'
  /** F16 or BF16 bit patterns to f32, exactly. `out` has the same length. */
  widen(bits: Uint16Array, dtype: 'F16' | 'BF16', out: Float32Array): void
  /** f32 to F16 or BF16 bit patterns, round to nearest even; NaN becomes a quiet NaN. */
  narrow(values: Float32Array, dtype: 'F16' | 'BF16', out: Uint16Array): void
  /** acc[i] = acc[i] - base[i]. */
  subtract(acc: Float32Array, base: Float32Array): void
  /** acc[i] = acc[i] + weight * x[i]: product rounded to f32, then the sum rounded to f32. */
  axpy(acc: Float32Array, x: Float32Array, weight: number): void
  /**
   * Sum, sum of squares and sum of magnitudes in f64. Order fixed: four lanes, lane i takes entries i mod 4, in order;
   * result (l0 + l1) + (l2 + l3). `nonFinite` is the index of the first NaN or Inf, or -1.
   */
  moments(x: Float32Array): { sum: number; sumSquares: number; sumMagnitudes: number; nonFinite: number }
  /** Adds to `counts` (32768 bins) the histogram of bits 30..16 of |x|. */
  histogramHigh(x: Float32Array, counts: Uint32Array): void
  /** Adds to `counts` (65536 bins) the histogram of bits 15..0 of those |x| whose bits 30..16 equal `high`. */
  histogramLow(x: Float32Array, high: number, counts: Uint32Array): void
  /**
   * Non-zeros kept by a threshold: entries with |x| bits > `thresholdBits`, and the first `ties` entries equal to it
   * (lowest index first), never zeros. Ascending (index | SIGN_BIT when x < 0).
   */
  select(x: Float32Array, thresholdBits: number, ties: number): Uint32Array
  /** Non-zeros of each row and of each column of a rows x cols matrix. */
  marginals(positions: Uint32Array, rows: number, cols: number): { rowCounts: Uint32Array; colCounts: Uint32Array }
  /** out(m x n) += factor * a(m x k) . b(k x n), f32: products and sums rounded in k order, times factor, then added. */
  matmulAdd(out: Float32Array, a: Float32Array, b: Float32Array, m: number, k: number, n: number, factor: number): void
}
