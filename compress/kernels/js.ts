/**
 * The kernels in plain TypeScript: the definition that wasm.ts must match bit for bit, and the fallback where
 * WebAssembly SIMD is missing. Math.fround after every operation makes the f64 arithmetic of JavaScript into f32: a sum
 * or product of two f32 values rounded from f64 equals the one rounded directly (53 >= 2 * 24 + 2 bits).
 *
 * NaN: hardware may give any payload, so every result that is NaN is stored as 0x7fc00000.
 */
import { INDEX_MASK, SIGN_BIT } from '../quantized-tensor.ts'
import type { Kernels } from './kernels.ts'

const MAGNITUDE = 0x7fff_ffff
const F32_INFINITY = 0x7f80_0000
const CANONICAL_NAN = 0x7fc0_0000

export const jsKernels: Kernels = {
  name: 'js',
  widen,
  narrow,
  subtract,
  axpy,
  moments,
  histogramHigh,
  histogramLow,
  select,
  marginals,
  matmulAdd,
}

/** The bit patterns of `x`, sharing its memory. */
function bitsOf(x: Float32Array): Uint32Array {
  return new Uint32Array(x.buffer, x.byteOffset, x.length)
}

function sameLength(a: ArrayLike<number>, b: ArrayLike<number>): void {
  if (a.length !== b.length) throw new Error(`kernel arguments differ in length: ${a.length} and ${b.length}`)
}

// ---- conversion ----

function widen(bits: Uint16Array, dtype: 'F16' | 'BF16', out: Float32Array): void {
  sameLength(bits, out)
  const target = bitsOf(out)
  if (dtype === 'BF16') for (let i = 0; i < bits.length; i++) target[i] = bits[i]! << 16
  else for (let i = 0; i < bits.length; i++) target[i] = widenF16(bits[i]!)
}

const F16_MIN_SUBNORMAL = 2 ** -24
const scratchFloat = new Float32Array(1)
const scratchBits = bitsOf(scratchFloat)

function widenF16(half: number): number {
  const sign = (half & 0x8000) << 16
  const exponent = (half >> 10) & 0x1f
  const fraction = half & 0x3ff
  if (exponent === 0x1f) return sign | F32_INFINITY | (fraction << 13)
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (fraction << 13)
  scratchFloat[0] = fraction * F16_MIN_SUBNORMAL
  return sign | scratchBits[0]!
}

function narrow(values: Float32Array, dtype: 'F16' | 'BF16', out: Uint16Array): void {
  sameLength(values, out)
  const source = bitsOf(values)
  if (dtype === 'BF16') for (let i = 0; i < source.length; i++) out[i] = narrowToBf16(source[i]!)
  else for (let i = 0; i < source.length; i++) out[i] = narrowToF16(source[i]!)
}

function narrowToBf16(bits: number): number {
  if ((bits & MAGNITUDE) > F32_INFINITY) return (bits >>> 16) | 0x40
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

function narrowToF16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & MAGNITUDE
  if (magnitude > F32_INFINITY) return sign | 0x7e00 | ((magnitude >>> 13) & 0x3ff)
  if (magnitude >= 0x4780_0000) return sign | 0x7c00 // 65536 and more; 65520..65536 overflows by the carry below
  if (magnitude < 0x3880_0000) return sign | roundToF16Subnormal(magnitude)
  return sign | ((magnitude - 0x3800_0000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
}

/** Below 2^-14: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits of the sum. */
function roundToF16Subnormal(magnitude: number): number {
  scratchBits[0] = magnitude
  scratchFloat[0] = scratchFloat[0]! + 0.5
  return scratchBits[0]! - 0x3f00_0000
}

// ---- elementwise arithmetic ----

function subtract(acc: Float32Array, base: Float32Array): void {
  sameLength(acc, base)
  const bits = bitsOf(acc)
  for (let i = 0; i < acc.length; i++) {
    const difference = acc[i]! - base[i]!
    if (Number.isNaN(difference)) bits[i] = CANONICAL_NAN
    else acc[i] = difference
  }
}

function axpy(acc: Float32Array, x: Float32Array, weight: number): void {
  sameLength(acc, x)
  const factor = Math.fround(weight)
  const bits = bitsOf(acc)
  for (let i = 0; i < acc.length; i++) {
    const sum = acc[i]! + Math.fround(factor * x[i]!)
    if (Number.isNaN(sum)) bits[i] = CANONICAL_NAN
    else acc[i] = sum
  }
}

// ---- statistics ----

function moments(x: Float32Array): { sum: number; sumSquares: number; sumMagnitudes: number; nonFinite: number } {
  const sum = new Float64Array(4)
  const squares = new Float64Array(4)
  const magnitudes = new Float64Array(4)
  let nonFinite = -1
  for (let i = 0; i < x.length; i++) {
    const value = x[i]!
    const lane = i & 3
    sum[lane]! += value
    squares[lane]! += value * value
    magnitudes[lane]! += Math.abs(value)
    if (nonFinite < 0 && !Number.isFinite(value)) nonFinite = i
  }
  return { sum: joinLanes(sum), sumSquares: joinLanes(squares), sumMagnitudes: joinLanes(magnitudes), nonFinite }
}

function joinLanes(lanes: Float64Array): number {
  return lanes[0]! + lanes[1]! + (lanes[2]! + lanes[3]!)
}

function histogramHigh(x: Float32Array, counts: Uint32Array): void {
  const bits = bitsOf(x)
  for (let i = 0; i < bits.length; i++) counts[(bits[i]! & MAGNITUDE) >>> 16]!++
}

function histogramLow(x: Float32Array, high: number, counts: Uint32Array): void {
  const bits = bitsOf(x)
  for (let i = 0; i < bits.length; i++) if ((bits[i]! & MAGNITUDE) >>> 16 === high) counts[bits[i]! & 0xffff]!++
}

// ---- trits ----

function select(x: Float32Array, thresholdBits: number, ties: number): Uint32Array {
  const bits = bitsOf(x)
  let tiesLeft = thresholdBits === 0 ? 0 : ties
  let kept = new Uint32Array(Math.min(x.length, 1024))
  let n = 0
  for (let i = 0; i < bits.length; i++) {
    const magnitude = bits[i]! & MAGNITUDE
    if (magnitude < thresholdBits || magnitude === 0) continue
    if (magnitude === thresholdBits && tiesLeft-- <= 0) continue
    if (n === kept.length) kept = grown(kept)
    kept[n++] = i | (bits[i]! & SIGN_BIT)
  }
  return kept.slice(0, n)
}

function grown(array: Uint32Array): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(array.length * 2)
  larger.set(array)
  return larger
}

function marginals(
  positions: Uint32Array,
  rows: number,
  cols: number,
): { rowCounts: Uint32Array; colCounts: Uint32Array } {
  const rowCounts = new Uint32Array(rows)
  const colCounts = new Uint32Array(cols)
  let row = 0
  let rowStart = 0
  for (let i = 0; i < positions.length; i++) {
    const index = positions[i]! & INDEX_MASK
    while (index - rowStart >= cols) {
      row++
      rowStart += cols
    }
    rowCounts[row]!++
    colCounts[index - rowStart]!++
  }
  return { rowCounts, colCounts }
}

// ---- low rank ----

function matmulAdd(
  out: Float32Array,
  a: Float32Array,
  b: Float32Array,
  m: number,
  k: number,
  n: number,
  factor: number,
): void {
  const bits = bitsOf(out)
  const scale = Math.fround(factor)
  const row = new Float32Array(n) // stores round to f32
  for (let i = 0; i < m; i++) {
    row.fill(0)
    for (let l = 0; l < k; l++) {
      const left = a[i * k + l]!
      for (let j = 0; j < n; j++) row[j] = row[j]! + Math.fround(left * b[l * n + j]!)
    }
    for (let j = 0; j < n; j++) {
      const sum = out[i * n + j]! + Math.fround(scale * row[j]!)
      if (Number.isNaN(sum)) bits[i * n + j] = CANONICAL_NAN
      else out[i * n + j] = sum
    }
  }
}
