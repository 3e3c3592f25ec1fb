/**
 * The scales block: the magnitudes of all trit tensors that do not share another's, one f32 for axis tensor, one bf16
 * per row or column else, as byte planes. FORMAT.md, "Scales block".
 */
import { joinPlanes, splitPlanes } from './bytes/byte-planes.ts'
import { invalid, MAX_SCALES_BYTES } from './container-layout.ts'
import type { Scales } from './quantized-tensor.ts'

export interface ScalesShape {
  readonly axis: Scales['axis']
  /** 1, rows or columns. */
  readonly count: number
}

const F32 = 4
const BF16 = 2

/** Raw bytes of the block. All counts are below 2^31, so the sum is exact. */
export function scalesBytes(shapes: readonly ScalesShape[]): number {
  return shapes.reduce((sum, { axis, count }) => sum + count * (axis === 'tensor' ? F32 : BF16), 0)
}

/** The raw block: the planes of the f32 values of all tensors in order, then the planes of the bf16 values. */
export function encodeScales(scales: readonly Scales[]): Uint8Array {
  const whole = concatenate(scales.filter(({ axis }) => axis === 'tensor'))
  const half = concatenate(scales.filter(({ axis }) => axis !== 'tensor'))
  const f32 = splitPlanes(new Uint8Array(whole.buffer), F32)
  const bf16 = splitPlanes(narrowExactly(half), BF16)
  const bytes = new Uint8Array(f32.length + bf16.length)
  bytes.set(f32)
  bytes.set(bf16, f32.length)
  if (bytes.length > MAX_SCALES_BYTES)
    throw invalid(`${bytes.length} bytes of scales; the most is ${MAX_SCALES_BYTES}`, { bytes: bytes.length })
  return bytes
}

function concatenate(scales: readonly Scales[]): Float32Array<ArrayBuffer> {
  const all = new Float32Array(scales.reduce((sum, { values }) => sum + values.length, 0))
  let offset = 0
  for (const { values } of scales) {
    all.set(values, offset)
    offset += values.length
  }
  return all
}

function narrowExactly(values: Float32Array<ArrayBuffer>): Uint8Array {
  const bits = new Uint32Array(values.buffer)
  const halves = new Uint16Array(values.length)
  bits.forEach((word, i) => {
    if ((word & 0xffff) !== 0) throw new Error(`scale ${values[i]} is not a bf16 value`)
    halves[i] = word >>> 16
  })
  return new Uint8Array(halves.buffer)
}

/**
 * The values of each shape, in order. `raw.length` is scalesBytes(shapes): the caller has compared them.
 * @throws CompressError CONTAINER_INVALID for a scale that is negative, infinite or NaN
 */
export function decodeScales(raw: Uint8Array, shapes: readonly ScalesShape[]): Float32Array[] {
  const wholeBytes = scalesBytes(shapes.filter(({ axis }) => axis === 'tensor'))
  const whole = new Float32Array(joined(raw.subarray(0, wholeBytes), F32))
  const half = widen(new Uint16Array(joined(raw.subarray(wholeBytes), BF16)))
  checkMagnitudes(whole)
  checkMagnitudes(half)
  const wholes = cutter(whole)
  const halves = cutter(half)
  return shapes.map(({ axis, count }) => (axis === 'tensor' ? wholes(count) : halves(count)))
}

/** Memory that holds the elements and nothing else. */
function joined(planes: Uint8Array, elementSize: number): ArrayBuffer {
  return joinPlanes(planes, elementSize).buffer as ArrayBuffer
}

/** Hands out the next so many values. Views: a block may be the largest thing in memory, and is not kept twice. */
function cutter(values: Float32Array): (count: number) => Float32Array {
  let at = 0
  return (count) => {
    const start = at
    at += count
    return values.subarray(start, at)
  }
}

function widen(halves: Uint16Array): Float32Array {
  const bits = new Uint32Array(halves.length)
  // No Uint32Array.from: with a function it first makes an array of all values, 32 M of them for a block of zeros.
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16
  return new Float32Array(bits.buffer)
}

function checkMagnitudes(values: Float32Array): void {
  for (const value of values)
    if (!(value >= 0 && value < Number.POSITIVE_INFINITY) || Object.is(value, -0))
      throw invalid(`a scale of ${Object.is(value, -0) ? '-0' : value}; scales are finite and not negative`)
}
