/** Bit streams: the first bit is the lowest bit of the first byte; a stream is padded to whole bytes with zero bits. */
import { CompressError } from '../errors.ts'

export class BitWriter {
  #bytes = new Uint8Array(256)
  #length = 0
  #pending = 0
  #pendingBits = 0

  get bitLength(): number {
    return this.#length * 8 + this.#pendingBits
  }

  /** The low `width` bits of `value`, lowest first. width <= 24. */
  write(value: number, width: number): void {
    this.#pending |= (value & (2 ** width - 1)) << this.#pendingBits
    this.#pendingBits += width
    while (this.#pendingBits >= 8) this.#flushByte()
  }

  /** `count` zero bits, then a one. */
  writeUnary(count: number): void {
    let left = count
    for (; left >= 16; left -= 16) this.write(0, 16)
    this.write(1 << left, left + 1)
  }

  finish(): Uint8Array {
    if (this.#pendingBits > 0) this.#flushByte()
    return this.#bytes.slice(0, this.#length)
  }

  #flushByte(): void {
    if (this.#length === this.#bytes.length) {
      const larger = new Uint8Array(this.#bytes.length * 2)
      larger.set(this.#bytes)
      this.#bytes = larger
    }
    this.#bytes[this.#length++] = this.#pending
    this.#pending >>>= 8
    this.#pendingBits = Math.max(0, this.#pendingBits - 8)
  }
}

/** Reads [start, end) of `bytes` bit by bit. Every method throws CompressError CONTAINER_INVALID at the end of the stream. */
export class BitReader {
  readonly #bytes: Uint8Array
  readonly #end: number
  #offset: number // next byte
  #pending = 0
  #pendingBits = 0

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes
    this.#offset = start
    this.#end = end
  }

  /** width <= 24. */
  read(width: number): number {
    while (this.#pendingBits < width) this.#fill()
    const value = this.#pending & (2 ** width - 1)
    this.#drop(width)
    return value
  }

  /** Number of zero bits before the next one, which is read too; more than `limit` zeros are refused. */
  readUnary(limit: number): number {
    let zeros = 0
    while (this.#pending === 0) {
      zeros += this.#pendingBits
      if (zeros > limit) throw invalidBits(`a run of more than ${limit} zero bits`)
      this.#pendingBits = 0
      this.#fill()
    }
    const more = 31 - Math.clz32(this.#pending & -this.#pending)
    this.#drop(more + 1)
    if (zeros + more > limit) throw invalidBits(`a run of more than ${limit} zero bits`)
    return zeros + more
  }

  /** Refuses set padding bits; returns the offset of the first byte after the stream. */
  finish(): number {
    if (this.#pending !== 0) throw invalidBits('padding bits that are not zero')
    return this.#offset
  }

  #fill(): void {
    if (this.#offset >= this.#end) throw invalidBits('its end too early')
    this.#pending |= this.#bytes[this.#offset++]! << this.#pendingBits
    this.#pendingBits += 8
  }

  #drop(width: number): void {
    this.#pending >>>= width
    this.#pendingBits -= width
  }
}

function invalidBits(problem: string): CompressError {
  return new CompressError('CONTAINER_INVALID', `trit frame: a bit stream has ${problem}`)
}
