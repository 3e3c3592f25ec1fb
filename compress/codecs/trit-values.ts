/**
 * Trits as numbers. A target says what the trits of a tensor become; applyTrits is the readable definition, and what
 * TritCodec.decodeInto must match bit for bit without a list of positions in between.
 */
import { jsKernels } from '../kernels/js.ts'
import { INDEX_MASK, type Scales, SIGN_BIT } from '../quantized-tensor.ts'
import type { FramePart } from './trit-codec.ts'

/** The dtypes that trits can be written in and added to. */
export type ValueDtype = 'F32' | 'F16' | 'BF16'
/** F32, or the bit patterns of F16 and BF16. */
export type Values = Float32Array | Uint16Array

interface ScaledTrits {
  readonly dtype: ValueDtype
  readonly axis: Scales['axis']
  /**
   * For each scale, in its order, what stands for +1 and what for -1, in 32 bits each: bit patterns of `dtype` for
   * `write`, f32 values to be added for `add`.
   */
  readonly pairs: Uint32Array
  /** Entries of the tensor, or of the part that is decoded. */
  readonly out: Values
}

/** out = +1's pattern, -1's, or `zero`. */
export interface WriteTarget extends ScaledTrits {
  readonly operation: 'write'
  readonly zero: number
}

/**
 * out = from + value, in f32 and rounded once to `dtype`; a NaN that arises is 0x7fc00000. Entries of trit 0 are those
 * of `from`, with the quiet bit of a 16-bit NaN set, as widening and narrowing leave it. `from` may be `out` itself.
 */
export interface AddTarget extends ScaledTrits {
  readonly operation: 'add'
  readonly from: Values
}

export type TritTarget = WriteTarget | AddTarget

/** The entries [start, start + cells) of a target that is a whole tensor. */
export function partOfTarget(target: TritTarget, start: number, cells: number): TritTarget {
  const out = target.out.subarray(start, start + cells)
  return target.operation === 'write'
    ? { ...target, out }
    : { ...target, out, from: target.from.subarray(start, start + cells) }
}

/** Pairs of `write` or `add` from the value of +1 and that of -1 for each scale. `plus` and `minus` hold f32 bits or codes. */
export function interleave(plus: ArrayLike<number>, minus: ArrayLike<number>): Uint32Array {
  const pairs = new Uint32Array(plus.length * 2)
  for (let i = 0; i < plus.length; i++) {
    pairs[2 * i] = plus[i]!
    pairs[2 * i + 1] = minus[i]!
  }
  return pairs
}

/** Applies decoded positions to the part's target. */
export function applyTrits(positions: Uint32Array, part: FramePart, target: TritTarget): void {
  if (target.out.length !== part.cells) throw new Error(`${target.out.length} values for ${part.cells} trits`)
  const pairOf = pairIndex(part, target.axis)
  if (target.operation === 'write') write(positions, target, pairOf)
  else add(positions, target, pairOf)
}

/** Where the pair of a position stands in `pairs`. */
function pairIndex({ start, cols }: FramePart, axis: Scales['axis']): (position: number) => number {
  const sign = (position: number) => (position >= SIGN_BIT ? 1 : 0)
  if (axis === 'tensor') return sign
  if (axis === 'row') return (position) => 2 * Math.floor((start + (position & INDEX_MASK)) / cols) + sign(position)
  return (position) => 2 * ((start + (position & INDEX_MASK)) % cols) + sign(position)
}

function write(positions: Uint32Array, target: WriteTarget, pairOf: (position: number) => number): void {
  const codes = patternsOf(target.out)
  codes.fill(target.zero)
  for (const position of positions) codes[position & INDEX_MASK] = target.pairs[pairOf(position)]!
}

function add(positions: Uint32Array, target: AddTarget, pairOf: (position: number) => number): void {
  const { dtype, from, out, pairs } = target
  const values = new Float32Array(pairs.buffer, pairs.byteOffset, pairs.length)
  if (from.length !== out.length) throw new Error(`${from.length} values to add trits to, ${out.length} to write`)
  if (dtype === 'F32') {
    if (from !== out) out.set(from)
    addSparsely(positions, out as Float32Array, values, pairOf)
    return
  }
  const wide = new Float32Array(out.length)
  jsKernels.widen(from as Uint16Array, dtype, wide)
  addSparsely(positions, wide, values, pairOf)
  jsKernels.narrow(wide, dtype, out as Uint16Array)
}

const CANONICAL_NAN = 0x7fc0_0000

function addSparsely(
  positions: Uint32Array,
  acc: Float32Array,
  values: Float32Array,
  pairOf: (position: number) => number,
): void {
  const bits = patternsOf(acc)
  for (const position of positions) {
    const index = position & INDEX_MASK
    const sum = acc[index]! + values[pairOf(position)]!
    if (Number.isNaN(sum)) bits[index] = CANONICAL_NAN
    else acc[index] = sum
  }
}

/** The bit patterns of `values`, sharing their memory. */
function patternsOf(values: Values): Uint32Array | Uint16Array {
  return values instanceof Float32Array ? new Uint32Array(values.buffer, values.byteOffset, values.length) : values
}
