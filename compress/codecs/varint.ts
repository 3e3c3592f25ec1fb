/** Variable-length unsigned integers (LEB128, at most 32 bits, shortest form only). CODECS.md, "Notation". */
import { CompressError } from '../errors.ts'

const MAX_VARINT_BYTES = 5 // 32 bits; stops a run of continuation bytes from being read as one endless number

export function varintLength(value: number): number {
  let length = 1
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) length++
  return length
}

/** Writes `value` (0 .. 2^32 - 1) at `at`; returns the offset after it. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  let rest = value
  let offset = at
  while (rest >= 0x80) {
    bytes[offset++] = (rest & 0x7f) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  bytes[offset++] = rest
  return offset
}

/** Reads numbers one after another and never past `end`. */
export class VarintReader {
  readonly bytes: Uint8Array
  readonly end: number
  offset: number

  constructor(bytes: Uint8Array, offset: number, end: number) {
    this.bytes = bytes
    this.offset = offset
    this.end = end
  }

  /** @throws CompressError CONTAINER_INVALID where the number is cut off, longer than 32 bits, or not the shortest form. */
  next(what: string): number {
    let value = 0
    for (let i = 0; i < MAX_VARINT_BYTES; i++) {
      if (this.offset >= this.end) throw invalidVarint(what, 'is cut off')
      const byte = this.bytes[this.offset++]!
      value += (byte & 0x7f) * 2 ** (7 * i)
      if (byte >= 0x80) continue
      if (byte === 0 && i > 0) throw invalidVarint(what, 'is not in its shortest form')
      if (value >= 2 ** 32) break
      return value
    }
    throw invalidVarint(what, 'is larger than 32 bits')
  }
}

function invalidVarint(what: string, problem: string): CompressError {
  return new CompressError('CONTAINER_INVALID', `trit frame: ${what} ${problem}`, { what })
}
