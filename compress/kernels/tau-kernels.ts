/**
 * Kernels on a piece of a task vector: the values of an expert less their origin, made from the bytes of both files and
 * looked at while they are in the cache, so that no tensor of tau is ever in memory as f32. This file is the definition;
 * tau-wasm.ts does the same in WebAssembly, bit for bit.
 */
import { type Dtype, toF32 } from '../../tensors/dtype.ts'
import { jsKernels } from './js.ts'

/** Consecutive entries of one tensor: little-endian bytes of the expert and, with an origin in a file, of the base. */
export interface TauPiece {
  /** Index of the first entry in the tensor; a multiple of 4. */
  readonly first: number
  readonly values: Uint8Array
  readonly dtype: Dtype
  readonly origin: 0 | 1 | { readonly values: Uint8Array; readonly dtype: Dtype }
}

/** The 12 sums of Kernels.moments, kept from piece to piece: 4 lanes each of x, x^2 and |x|, f64. */
export type MomentLanes = Float64Array

export interface TauKernels {
  /** Adds the piece to the lanes. Index in the tensor of the first value that is not finite, and the value. */
  moments(piece: TauPiece, lanes: MomentLanes): NonFinite | undefined
  /** moments, and Kernels.histogramHigh. */
  measure(piece: TauPiece, lanes: MomentLanes, high: Uint32Array): NonFinite | undefined
  /** Kernels.histogramLow. */
  histogramLow(piece: TauPiece, high: number, counts: Uint32Array): void
  /** Appends the entries whose magnitude bits are at least `lowest` (> 0); with `lanes`, moments too. */
  collect(piece: TauPiece, lowest: number, into: Candidates, lanes?: MomentLanes): NonFinite | undefined
}

export interface NonFinite {
  readonly index: number
  readonly value: number
}

/** Entries of a tensor that may be kept, ascending by index. */
export class Candidates {
  length = 0
  /** Index | SIGN_BIT. */
  #entries: Uint32Array<ArrayBuffer>
  /** Bits 30..0 of the f32 value. */
  #magnitudes: Uint32Array<ArrayBuffer>

  /** Grows beyond the `expected` number. */
  constructor(expected: number) {
    this.#entries = new Uint32Array(expected)
    this.#magnitudes = new Uint32Array(expected)
  }

  get capacity(): number {
    return this.#entries.length
  }

  get entries(): Uint32Array {
    return this.#entries.subarray(0, this.length)
  }

  get magnitudes(): Uint32Array {
    return this.#magnitudes.subarray(0, this.length)
  }

  append(entries: Uint32Array, magnitudes: Uint32Array): void {
    const length = this.length + entries.length
    if (length > this.#entries.length) {
      this.#entries = grown(this.#entries, length)
      this.#magnitudes = grown(this.#magnitudes, length)
    }
    this.#entries.set(entries, this.length)
    this.#magnitudes.set(magnitudes, this.length)
    this.length = length
  }
}

function grown(array: Uint32Array, length: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(Math.max(length, Math.ceil(array.length * 1.5)))
  larger.set(array)
  return larger
}

export const jsTauKernels: TauKernels = {
  moments: (piece, lanes) => addMoments(tauOf(piece), lanes, piece.first),
  measure(piece, lanes, high) {
    const tau = tauOf(piece)
    jsKernels.histogramHigh(tau, high)
    return addMoments(tau, lanes, piece.first)
  },
  histogramLow: (piece, high, counts) => jsKernels.histogramLow(tauOf(piece), high, counts),
  collect(piece, lowest, into, lanes) {
    const tau = tauOf(piece)
    collect(tau, piece.first, lowest, into)
    return lanes === undefined ? undefined : addMoments(tau, lanes, piece.first)
  },
}

/** f32(expert) - f32(origin), one rounding. */
export function tauOf({ values, dtype, origin }: TauPiece): Float32Array {
  const tau = toF32(values, dtype)
  if (origin === 0) return tau
  jsKernels.subtract(tau, origin === 1 ? new Float32Array(tau.length).fill(1) : toF32(origin.values, origin.dtype))
  return tau
}

function addMoments(tau: Float32Array, lanes: MomentLanes, first: number): NonFinite | undefined {
  let bad = -1
  for (let i = 0; i < tau.length; i++) {
    const value = tau[i]!
    const lane = i & 3
    lanes[lane]! += value
    lanes[4 + lane]! += value * value
    lanes[8 + lane]! += Math.abs(value)
    if (bad < 0 && !Number.isFinite(value)) bad = i
  }
  return bad < 0 ? undefined : { index: first + bad, value: tau[bad]! }
}

function collect(tau: Float32Array, first: number, lowest: number, into: Candidates): void {
  const bits = new Uint32Array(tau.buffer, tau.byteOffset, tau.length)
  const entries: number[] = []
  const magnitudes: number[] = []
  bits.forEach((word, i) => {
    const magnitude = word & 0x7fff_ffff
    if (magnitude < lowest) return
    entries.push(((first + i) | (word & 0x8000_0000)) >>> 0)
    magnitudes.push(magnitude)
  })
  into.append(Uint32Array.from(entries), Uint32Array.from(magnitudes))
}
