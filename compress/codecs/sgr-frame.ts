/**
 * The sections of an SGR frame: what is written around the entropy-coded gaps, and every check that needs no decoding.
 * CODECS.md, "SGR frames".
 */
import { CompressError } from '../errors.ts'
import { decodeRiceFrame, encodeRiceFrame, riceFrameBytes } from './rice.ts'
import { layOutParts, type PartLayout } from './sgr-layout.ts'
import { pickTable } from './sgr-tables.ts'
import type { EncodePart, FramePart } from './trit-codec.ts'
import type { TritTarget } from './trit-values.ts'
import { VarintReader, varintLength, writeVarint } from './varint.ts'

/** Two 32-bit states open the rANS section. */
export const STATE_BYTES = 8

export interface SgrSections {
  /** Non-zeros of every stratum of every part, in order; 0 for strata without entries, which are not stored. */
  readonly nonZeros: Uint32Array
  readonly escapes: Uint8Array
  readonly rans: Uint8Array
  readonly raw: Uint8Array
}

/** The inner loops, once in readable form (sgr-reference.ts) and once in WebAssembly (sgr-wasm.ts): same bytes. */
export interface SgrCoder {
  encode(parts: readonly PartLayout[], positions: readonly Uint32Array[]): SgrSections
  /** Ascending positions of each part. @throws CompressError CONTAINER_INVALID */
  decode(parts: readonly PartLayout[], sections: SgrSections): Uint32Array[]
  /** See TritCodec.decodeInto. */
  decodeInto?(part: FramePart, layout: PartLayout, sections: SgrSections, target: TritTarget): boolean
}

/** First byte of a frame that is a Rice frame instead; no SGR frame begins so, as its head is never empty. */
const RICE_MARK = 0

/** The shorter of the two forms; on random data this one, on tiny or strictly periodic frames Rice. */
export function encodeSgrFrame(coder: SgrCoder, parts: readonly EncodePart[]): Uint8Array {
  const bytes = encodeStrataFrame(coder, parts)
  if (bytes.length <= 1 + riceFrameBytes(parts)) return bytes
  const rice = encodeRiceFrame(parts)
  const marked = new Uint8Array(1 + rice.length)
  marked[0] = RICE_MARK
  marked.set(rice, 1)
  return marked
}

export function encodeStrataFrame(coder: SgrCoder, parts: readonly EncodePart[]): Uint8Array {
  const layouts = layOutParts(parts)
  const positions = parts.map((part) => part.positions)
  return joinSections(layouts, coder.encode(layouts, positions))
}

function joinSections(layouts: readonly PartLayout[], sections: SgrSections): Uint8Array {
  const { escapes, rans, raw } = sections
  const counts = storedCounts(layouts, sections.nonZeros)
  const headLength = counts.reduce((sum, count) => sum + varintLength(count), 0) + escapes.length
  const start = varintLength(headLength) + varintLength(rans.length)
  const bytes = new Uint8Array(start + headLength + rans.length + raw.length)
  let offset = writeVarint(bytes, writeVarint(bytes, 0, headLength), rans.length)
  for (const count of counts) offset = writeVarint(bytes, offset, count)
  bytes.set(escapes, offset)
  bytes.set(rans, start + headLength)
  bytes.set(raw, start + headLength + rans.length)
  return bytes
}

function storedCounts(layouts: readonly PartLayout[], nonZeros: Uint32Array): number[] {
  const counts: number[] = []
  let s = 0
  for (const { strata } of layouts) {
    for (const cells of strata) {
      if (cells > 0) counts.push(nonZeros[s]!)
      s++
    }
  }
  return counts
}

export function decodeSgrFrame(coder: SgrCoder, bytes: Uint8Array, parts: readonly FramePart[]): Uint32Array[] {
  if (bytes[0] === RICE_MARK) return decodeRiceFrame(bytes.subarray(1), parts)
  const layouts = layOutParts(parts)
  return coder.decode(layouts, splitSections(bytes, layouts))
}

export function decodeSgrFrameInto(coder: SgrCoder, bytes: Uint8Array, part: FramePart, target: TritTarget): boolean {
  if (coder.decodeInto === undefined || bytes[0] === RICE_MARK) return false
  const layouts = layOutParts([part])
  return coder.decodeInto(part, layouts[0]!, splitSections(bytes, layouts), target)
}

function splitSections(bytes: Uint8Array, layouts: readonly PartLayout[]): SgrSections {
  const lengths = new VarintReader(bytes, 0, bytes.length)
  const headLength = lengths.next('length of the head')
  const ransLength = lengths.next('length of the rANS section')
  const start = lengths.offset
  const left = bytes.length - start
  if (headLength + ransLength > left)
    throw invalid(`sections of ${headLength} and ${ransLength} bytes where ${left} bytes are left`)
  if (ransLength < STATE_BYTES || ransLength % 2 !== 0) throw invalid(`a rANS section of ${ransLength} bytes`)
  const head = new VarintReader(bytes, start, start + headLength)
  const { nonZeros, rawBits } = readCounts(head, layouts)
  const raw = bytes.subarray(start + headLength + ransLength)
  checkRaw(raw, rawBits)
  return {
    nonZeros,
    escapes: bytes.subarray(head.offset, start + headLength),
    rans: bytes.subarray(start + headLength, start + headLength + ransLength),
    raw,
  }
}

function readCounts(head: VarintReader, layouts: readonly PartLayout[]): { nonZeros: Uint32Array; rawBits: number } {
  const nonZeros = new Uint32Array(layouts.reduce((sum, { strata }) => sum + strata.length, 0))
  let rawBits = 0
  let s = 0
  for (const { strata } of layouts) {
    for (const cells of strata) {
      if (cells > 0) {
        const count = head.next('number of non-zeros of a stratum')
        if (count > cells) throw invalid(`${count} non-zeros in a stratum of ${cells} entries`)
        if (count > 0) rawBits += count * (pickTable(cells, count).shift + 1)
        nonZeros[s] = count
      }
      s++
    }
  }
  return { nonZeros, rawBits }
}

/** The raw section must have exactly the bits that the counts ask for, so no reader of it can run over its end. */
function checkRaw(raw: Uint8Array, bits: number): void {
  if (raw.length !== Math.ceil(bits / 8))
    throw invalid(`a raw section of ${raw.length} bytes where its counts ask for ${bits} bits`)
  if ((bits & 7) !== 0 && raw[raw.length - 1]! >>> (bits & 7) !== 0) throw invalid('padding bits that are not zero')
}

export function invalid(problem: string): CompressError {
  return new CompressError('CONTAINER_INVALID', `trit frame (sgr): ${problem}`)
}
