/** Codec 1: one bit per entry says non-zero, one bit per non-zero its sign. CODECS.md, "Bit planes". */
import { CompressError } from '../errors.ts'
import { INDEX_MASK, SIGN_BIT } from '../quantized-tensor.ts'
import type { EncodePart, FramePart, TritCodec } from './trit-codec.ts'

export const bitplane: TritCodec = {
  id: 1,
  name: 'bitplane',
  chooseSide: () => new Uint8Array(0),
  sideLength: () => 0,
  encodeFrame,
  decodeFrame,
}

function planeBytes(bits: number): number {
  return Math.ceil(bits / 8)
}

function frameCells(parts: readonly FramePart[]): number {
  return parts.reduce((sum, part) => sum + part.cells, 0)
}

function encodeFrame(parts: readonly EncodePart[]): Uint8Array {
  const cells = frameCells(parts)
  const nonZeros = parts.reduce((sum, part) => sum + part.positions.length, 0)
  const bytes = new Uint8Array(planeBytes(cells) + planeBytes(nonZeros))
  const signs = bytes.subarray(planeBytes(cells))
  let first = 0
  let n = 0
  for (const part of parts) {
    for (let i = 0; i < part.positions.length; i++) {
      const position = part.positions[i]!
      setBit(bytes, first + (position & INDEX_MASK))
      if (position >= SIGN_BIT) setBit(signs, n)
      n++
    }
    first += part.cells
  }
  return bytes
}

function setBit(plane: Uint8Array, bit: number): void {
  plane[bit >>> 3]! |= 1 << (bit & 7)
}

function decodeFrame(bytes: Uint8Array, parts: readonly FramePart[]): Uint32Array[] {
  const cells = frameCells(parts)
  const maskLength = planeBytes(cells)
  if (bytes.length < maskLength) throw wrongLength(bytes.length, maskLength)
  const mask = bytes.subarray(0, maskLength)
  const signs = bytes.subarray(maskLength)
  const nonZeros = countBits(mask)
  if (signs.length !== planeBytes(nonZeros)) throw wrongLength(bytes.length, maskLength + planeBytes(nonZeros))
  checkPadding(mask, cells)
  checkPadding(signs, nonZeros)
  let first = 0
  let n = 0
  return parts.map((part) => {
    const positions = readPart(mask, first, part.cells, signs, n)
    first += part.cells
    n += positions.length
    return positions
  })
}

function readPart(mask: Uint8Array, first: number, cells: number, signs: Uint8Array, firstSign: number): Uint32Array {
  let count = 0
  for (let i = first; i < first + cells; i++) count += bitAt(mask, i)
  const positions = new Uint32Array(count)
  let n = 0
  for (let i = 0; i < cells; i++) {
    if (bitAt(mask, first + i) === 0) continue
    positions[n] = i | (bitAt(signs, firstSign + n) << 31)
    n++
  }
  return positions
}

function bitAt(plane: Uint8Array, bit: number): number {
  return (plane[bit >>> 3]! >>> (bit & 7)) & 1
}

function countBits(plane: Uint8Array): number {
  let count = 0
  for (let i = 0; i < plane.length; i++) for (let rest = plane[i]!; rest !== 0; rest &= rest - 1) count++
  return count
}

function checkPadding(plane: Uint8Array, bits: number): void {
  if ((bits & 7) !== 0 && plane[bits >>> 3]! >>> (bits & 7) !== 0)
    throw new CompressError('CONTAINER_INVALID', 'trit frame: padding bits of a bit plane are not zero')
}

function wrongLength(actual: number, expected: number): CompressError {
  return new CompressError(
    'CONTAINER_INVALID',
    `trit frame: bit planes of ${actual} bytes, expected ${expected} for these shapes`,
    { actual, expected },
  )
}
