/**
 * The inner loops of SGR in readable form: gaps to symbols, rANS, and back. CODECS.md, "Gaps" and "rANS".
 * sgr-wasm.ts does the same in WebAssembly; both give the same bytes and refuse the same frames.
 */
import { INDEX_MASK, SIGN_BIT } from '../quantized-tensor.ts'
import { BitReader, BitWriter } from './bits.ts'
import { invalid, type SgrCoder, type SgrSections, STATE_BYTES } from './sgr-frame.ts'
import type { PartLayout } from './sgr-layout.ts'
import { pickTable, TABLE_BITS, TABLE_SLOTS, TABLES } from './sgr-tables.ts'
import { VarintReader, varintLength, writeVarint } from './varint.ts'

export const referenceCoder: SgrCoder = { encode, decode }

/** States stay in [2^16, 2^32) and move 16 bits at a time. */
const STATE_LOW = 2 ** 16

// ---- strata ----

/** The non-zeros of each stratum: index within the stratum | sign, ascending. */
function splitPart(part: PartLayout, positions: Uint32Array): number[][] {
  const strata = Array.from(part.strata, (): number[] => [])
  const { rank: rowRank } = rankInClass(part.rowClasses, part.cells / part.cols, part.rowClassCount)
  const { rank: colRank, members: width } = rankInClass(part.colClasses, part.cols, part.colClassCount)
  for (const position of positions) {
    const index = position & INDEX_MASK
    const row = Math.floor(index / part.cols)
    const col = index % part.cols
    const colClass = part.colClasses?.[col] ?? 0
    const stratum = (part.rowClasses?.[row] ?? 0) * part.colClassCount + colClass
    strata[stratum]!.push(rowRank[row]! * width[colClass]! + colRank[col]! + (position >= SIGN_BIT ? SIGN_BIT : 0))
  }
  return strata
}

/** Place of each member of an axis among those of its class, and how many each class has. */
function rankInClass(classes: Uint8Array | undefined, length: number, classCount: number) {
  const members = new Uint32Array(classCount)
  const rank = new Uint32Array(length)
  for (let i = 0; i < length; i++) rank[i] = members[classes?.[i] ?? 0]!++
  return { rank, members }
}

/** Members of an axis that are in class `wanted`, ascending. */
function membersOf(classes: Uint8Array | undefined, length: number, wanted: number): number[] {
  const members: number[] = []
  for (let i = 0; i < length; i++) if ((classes?.[i] ?? 0) === wanted) members.push(i)
  return members
}

// ---- encoder ----

interface TableSymbol {
  readonly table: number
  readonly symbol: number
}

function encode(parts: readonly PartLayout[], positions: readonly Uint32Array[]): SgrSections {
  const nonZeros: number[] = []
  const symbols: TableSymbol[] = []
  const escapes: number[] = []
  const raw = new BitWriter()
  parts.forEach((part, p) => {
    splitPart(part, positions[p]!).forEach((stratum, s) => {
      nonZeros.push(stratum.length)
      if (stratum.length > 0) encodeStratum(stratum, part.strata[s]!, symbols, escapes, raw)
    })
  })
  return {
    nonZeros: Uint32Array.from(nonZeros),
    escapes: varints(escapes),
    rans: encodeSymbols(symbols),
    raw: raw.finish(),
  }
}

function encodeStratum(
  stratum: readonly number[],
  cells: number,
  symbols: TableSymbol[],
  escapes: number[],
  raw: BitWriter,
): void {
  const { table, shift } = pickTable(cells, stratum.length)
  const { escapeSymbol } = TABLES[table]!
  let previous = -1
  for (const entry of stratum) {
    const index = entry & INDEX_MASK
    const gap = index - previous - 1
    previous = index
    raw.write(entry >= SIGN_BIT ? 1 : 0, 1)
    raw.write(gap, shift)
    const high = gap >>> shift
    if (high >= escapeSymbol) escapes.push(high)
    symbols.push({ table, symbol: Math.min(high, escapeSymbol) })
  }
}

function varints(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.reduce((sum, value) => sum + varintLength(value), 0))
  let offset = 0
  for (const value of values) offset = writeVarint(bytes, offset, value)
  return bytes
}

/** Symbol i is coded with state i mod 2; the last first, so that a decoder reads them in order. */
function encodeSymbols(symbols: readonly TableSymbol[]): Uint8Array {
  const states = [STATE_LOW, STATE_LOW]
  const words: number[] = []
  for (let i = symbols.length - 1; i >= 0; i--) {
    const { table, symbol } = symbols[i]!
    const { starts } = TABLES[table]!
    const start = starts[symbol]!
    const frequency = starts[symbol + 1]! - start
    let state = states[i % 2]!
    if (state >= frequency * 2 ** (32 - TABLE_BITS)) {
      words.push(state % STATE_LOW)
      state = Math.floor(state / STATE_LOW)
    }
    states[i % 2] = Math.floor(state / frequency) * TABLE_SLOTS + (state % frequency) + start
  }
  const bytes = new Uint8Array(STATE_BYTES + 2 * words.length)
  const view = new DataView(bytes.buffer)
  states.forEach((state, i) => {
    view.setUint32(4 * i, state, true)
  })
  words.reverse().forEach((word, i) => {
    view.setUint16(STATE_BYTES + 2 * i, word, true)
  })
  return bytes
}

// ---- decoder ----

function decode(parts: readonly PartLayout[], sections: SgrSections): Uint32Array[] {
  const symbols = new SymbolReader(sections.rans)
  const escapes = new VarintReader(sections.escapes, 0, sections.escapes.length)
  const raw = new BitReader(sections.raw, 0, sections.raw.length)
  let first = 0
  const decoded = parts.map((part) => {
    const nonZeros = sections.nonZeros.subarray(first, first + part.strata.length)
    first += part.strata.length
    return decodePart(part, nonZeros, symbols, escapes, raw)
  })
  symbols.finish()
  if (escapes.offset !== escapes.end) throw invalid(`${escapes.end - escapes.offset} bytes after the last escape`)
  return decoded
}

function decodePart(
  part: PartLayout,
  nonZeros: Uint32Array,
  symbols: SymbolReader,
  escapes: VarintReader,
  raw: BitReader,
): Uint32Array {
  const trits = new Int8Array(part.cells)
  nonZeros.forEach((count, s) => {
    if (count === 0) return
    const rows = membersOf(part.rowClasses, part.cells / part.cols, Math.floor(s / part.colClassCount))
    const cols = membersOf(part.colClasses, part.cols, s % part.colClassCount)
    const { table, shift } = pickTable(part.strata[s]!, count)
    let index = -1
    for (let i = 0; i < count; i++) {
      const high = symbols.next(table, escapes)
      const sign = raw.read(1) === 1 ? -1 : 1
      index += high * 2 ** shift + raw.read(shift) + 1
      if (index >= part.strata[s]!) throw invalid(`a position past the ${part.strata[s]} entries of its stratum`)
      trits[rows[Math.floor(index / cols.length)]! * part.cols + cols[index % cols.length]!] = sign
    }
  })
  return collect(
    trits,
    nonZeros.reduce((sum, count) => sum + count, 0),
  )
}

function collect(trits: Int8Array, count: number): Uint32Array {
  const positions = new Uint32Array(count)
  let n = 0
  trits.forEach((trit, i) => {
    if (trit !== 0) positions[n++] = trit < 0 ? i + SIGN_BIT : i
  })
  return positions
}

/** The rANS section, symbol by symbol. */
class SymbolReader {
  readonly #view: DataView
  readonly #states: number[]
  #offset = STATE_BYTES
  #turn = 0

  constructor(rans: Uint8Array) {
    this.#view = new DataView(rans.buffer, rans.byteOffset, rans.length)
    this.#states = [this.#view.getUint32(0, true), this.#view.getUint32(4, true)]
    if (this.#states.some((state) => state < STATE_LOW)) throw invalid('a rANS state below 2^16')
  }

  /** The next symbol; for the escape, the number that stands for it among the escapes. */
  next(table: number, escapes: VarintReader): number {
    const { starts, symbolOf, escapeSymbol } = TABLES[table]!
    const state = this.#states[this.#turn]!
    const slot = state % TABLE_SLOTS
    const symbol = symbolOf[slot]!
    const start = starts[symbol]!
    const shrunk = (starts[symbol + 1]! - start) * Math.floor(state / TABLE_SLOTS) + slot - start
    this.#states[this.#turn] = shrunk < STATE_LOW ? shrunk * STATE_LOW + this.#word() : shrunk
    this.#turn = 1 - this.#turn
    if (symbol < escapeSymbol) return symbol
    const high = escapes.next('an escape')
    if (high < escapeSymbol) throw invalid(`an escape of ${high}, which has a symbol of its own`)
    return high
  }

  /** The encoder began with both states at 2^16: anything else at the end is damage. */
  finish(): void {
    if (this.#offset !== this.#view.byteLength) throw invalid('words left in the rANS section')
    if (this.#states.some((state) => state !== STATE_LOW)) throw invalid('rANS states that do not end where they began')
  }

  #word(): number {
    if (this.#offset >= this.#view.byteLength) throw invalid('a rANS section that ends too early')
    this.#offset += 2
    return this.#view.getUint16(this.#offset - 2, true)
  }
}
