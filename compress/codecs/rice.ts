/**
 * Codec 2: gaps between non-zeros in a Rice code, signs as they are. CODECS.md, "Rice".
 * This is the Golomb coding that ComPEFT (arXiv:2311.13171, section 2.2) proposes, with a power of two as divisor.
 */
import { CompressError } from '../errors.ts'
import { INDEX_MASK, SIGN_BIT } from '../quantized-tensor.ts'
import { BitReader, BitWriter } from './bits.ts'
import type { EncodePart, FramePart, TritCodec } from './trit-codec.ts'
import { VarintReader, varintLength, writeVarint } from './varint.ts'

/** 2^18 entries in a frame: a larger parameter could only waste bits. */
const MAX_PARAMETER = 18

export const rice: TritCodec = {
  id: 2,
  name: 'rice',
  chooseSide: () => new Uint8Array(0),
  sideLength: () => 0,
  encodeFrame: encodeRiceFrame,
  decodeFrame: decodeRiceFrame,
}

/** Bytes of encodeRiceFrame(parts), without making them. */
export function riceFrameBytes(parts: readonly EncodePart[]): number {
  return parts.reduce((sum, part) => sum + ricePartBytes(part.positions), 0)
}

function ricePartBytes(positions: Uint32Array): number {
  const count = positions.length
  if (count === 0) return 1
  return varintLength(count) + 1 + Math.ceil(bestParameter(positions).bits / 8)
}

/** Bits of all gaps and signs with the parameters r - 1, r, r + 1: per non-zero floor(gap / 2^r) + 1 + r + 1. */
function bitsAround(positions: Uint32Array, r: number): [number, number, number] {
  let previous = -1
  let below = 0
  let here = 0
  let above = 0
  for (let i = 0; i < positions.length; i++) {
    const index = positions[i]! & INDEX_MASK
    const quotient = (index - previous - 1) >>> (r - 1)
    previous = index
    below += quotient
    here += quotient >>> 1
    above += quotient >>> 2
  }
  const n = positions.length
  return [below + n * (r + 1), here + n * (r + 2), above + n * (r + 3)]
}

/** The smallest of the best parameters. The cost is convex in r, so walking downhill from a guess finds it. */
function bestParameter(positions: Uint32Array): { r: number; bits: number } {
  const meanGap = ((positions[positions.length - 1]! & INDEX_MASK) + 1) / positions.length
  let r = Math.min(MAX_PARAMETER - 1, Math.max(1, Math.round(Math.log2(meanGap * Math.LN2))))
  for (;;) {
    const [below, here, above] = bitsAround(positions, r)
    if (below <= here) {
      if (r === 1) return { r: 0, bits: below }
      r--
    } else if (above < here) {
      if (r === MAX_PARAMETER - 1) return { r: MAX_PARAMETER, bits: above }
      r++
    } else return { r, bits: here }
  }
}

export function encodeRiceFrame(parts: readonly EncodePart[]): Uint8Array {
  const bytes = new Uint8Array(riceFrameBytes(parts))
  let offset = 0
  for (const { positions } of parts) {
    offset = writeVarint(bytes, offset, positions.length)
    if (positions.length === 0) continue
    const { r } = bestParameter(positions)
    bytes[offset++] = r
    const coded = encodeGaps(positions, r)
    bytes.set(coded, offset)
    offset += coded.length
  }
  return bytes
}

function encodeGaps(positions: Uint32Array, r: number): Uint8Array {
  const writer = new BitWriter()
  let previous = -1
  for (let i = 0; i < positions.length; i++) {
    const position = positions[i]!
    const gap = (position & INDEX_MASK) - previous - 1
    previous = position & INDEX_MASK
    writer.writeUnary(gap >>> r)
    writer.write(gap, r)
    writer.write(position >>> 31, 1)
  }
  return writer.finish()
}

export function decodeRiceFrame(bytes: Uint8Array, parts: readonly FramePart[]): Uint32Array[] {
  let offset = 0
  const decoded = parts.map((part) => {
    const { positions, end } = decodePart(bytes, offset, part.cells)
    offset = end
    return positions
  })
  if (offset !== bytes.length) throw invalid(`${bytes.length - offset} bytes after its last part`)
  return decoded
}

function decodePart(bytes: Uint8Array, start: number, cells: number): { positions: Uint32Array; end: number } {
  const reader = new VarintReader(bytes, start, bytes.length)
  const count = reader.next('number of non-zeros')
  const available = bytes.length - reader.offset
  // A non-zero takes two bits or more, so a count that the bytes cannot hold never sizes a buffer.
  if (count > cells || count > available * 4)
    throw invalid(`${count} non-zeros in ${cells} entries and ${available} bytes`)
  if (count === 0) return { positions: new Uint32Array(0), end: reader.offset }
  const r = bytes[reader.offset]!
  if (r > MAX_PARAMETER) throw invalid(`Rice parameter ${r}, the largest is ${MAX_PARAMETER}`)
  return decodeGaps(new BitReader(bytes, reader.offset + 1, bytes.length), r, new Uint32Array(count), cells)
}

function decodeGaps(bits: BitReader, r: number, positions: Uint32Array, cells: number) {
  const quotientLimit = cells >>> r
  let index = -1
  for (let i = 0; i < positions.length; i++) {
    index += bits.readUnary(quotientLimit) * 2 ** r + bits.read(r) + 1
    if (index >= cells) throw invalid(`a position past its ${cells} entries`)
    positions[i] = bits.read(1) === 1 ? index + SIGN_BIT : index
  }
  return { positions, end: bits.finish() }
}

function invalid(problem: string): CompressError {
  return new CompressError('CONTAINER_INVALID', `trit frame (rice): ${problem}`)
}
