/** The inner loops of SGR in WebAssembly (kernels/assembly/sgr-*.ts). Same bytes and same refusals as sgr-reference.ts. */
import type { WasmHeap } from '../kernels/wasm-heap.ts'
import { invalid, type SgrCoder, type SgrSections, STATE_BYTES } from './sgr-frame.ts'
import type { PartLayout } from './sgr-layout.ts'
import { pickTable, TABLE_COUNT, TABLE_SLOTS, TABLES } from './sgr-tables.ts'

export function wasmCoder(heap: WasmHeap): SgrCoder {
  loadTables(heap)
  return {
    encode: (parts, positions) => encode(heap, parts, positions),
    decode: (parts, sections) => decode(heap, parts, sections),
  }
}

/** By the number that the module returns; 0 is success. */
const FAILURES = [
  '',
  'a rANS section that ends too early',
  'an escape that is cut off, not in its shortest form, or has a symbol of its own',
  'a position past the entries of its stratum',
  'words left in the rANS section',
  'bytes after the last escape',
  'rANS states that no encoder leaves',
]

function check(failure: number): void {
  if (failure !== 0) throw invalid(FAILURES[failure] ?? `failure ${failure}`)
}

// ---- tables ----

const SYMBOLS_PER_TABLE = 64
const ESCAPE_MARK = 63

/** Puts the tables where the module looks for them; see the layout in sgr-code.ts. */
function loadTables(heap: WasmHeap): void {
  const entries = heap.keep(TABLE_COUNT * TABLE_SLOTS * 4)
  const ranges = heap.keep(TABLE_COUNT * SYMBOLS_PER_TABLE * 4)
  const escapes = heap.keep(TABLE_COUNT * 4)
  const entryWords = heap.words(entries, TABLE_COUNT * TABLE_SLOTS)
  const rangeWords = heap.words(ranges, TABLE_COUNT * SYMBOLS_PER_TABLE)
  const escapeWords = heap.words(escapes, TABLE_COUNT)
  TABLES.forEach(({ starts, escapeSymbol, symbolOf }, table) => {
    escapeWords[table] = escapeSymbol
    for (let symbol = 0; symbol <= escapeSymbol; symbol++)
      rangeWords[table * SYMBOLS_PER_TABLE + symbol] = starts[symbol]! | ((starts[symbol + 1]! - starts[symbol]!) << 16)
    for (let slot = 0; slot < TABLE_SLOTS; slot++) {
      const symbol = symbolOf[slot]!
      const start = starts[symbol]!
      const mark = symbol === escapeSymbol ? ESCAPE_MARK : symbol
      entryWords[table * TABLE_SLOTS + slot] = (mark << 26) | ((starts[symbol + 1]! - start) << 13) | (slot - start)
    }
  })
  heap.exports.setTables(entries, ranges, escapes)
}

// ---- strata ----

const STRATUM_BYTES = 16
const MAX_STRATA = 64

function rowsOf(part: PartLayout): number {
  return part.cells / part.cols
}

function isUndivided(part: PartLayout): boolean {
  return part.strata.length === 1
}

function largest(parts: readonly PartLayout[], measure: (part: PartLayout) => number): number {
  return parts.reduce((most, part) => Math.max(most, measure(part)), 0)
}

/** Address of the class array after copying it to `address`, or 0 for an axis of one class. */
function writeClasses(heap: WasmHeap, address: number, classes: Uint8Array | undefined): number {
  if (classes === undefined) return 0
  heap.write(address, classes)
  return address
}

/** Describes each stratum to the module: entries, non-zeros, table, shift. */
function writeStrata(heap: WasmHeap, address: number, parts: readonly PartLayout[], nonZeros: Uint32Array): void {
  const words = heap.words(address, (nonZeros.length * STRATUM_BYTES) / 4)
  let s = 0
  for (const { strata } of parts) {
    for (const cells of strata) {
      const count = nonZeros[s]!
      const { table, shift } = count === 0 ? { table: 0, shift: 0 } : pickTable(cells, count)
      words.set([cells, count, table, shift], s * 4)
      s++
    }
  }
}

// ---- encoder ----

function encode(heap: WasmHeap, parts: readonly PartLayout[], positions: readonly Uint32Array[]): SgrSections {
  const total = positions.reduce((sum, list) => sum + list.length, 0)
  const cells = parts.reduce((sum, part) => sum + part.cells, 0)
  const strataCount = parts.reduce((sum, part) => sum + part.strata.length, 0)
  heap.release()
  const indices = heap.take(total * 4)
  const nonZeros = splitParts(heap, parts, positions, indices, strataCount)
  const strata = heap.take(strataCount * STRATUM_BYTES)
  const symbols = heap.take(total * 2)
  const escapes = heap.take(total * 5)
  const raw = heap.take(Math.ceil(cells / 8) + 8) // a stratum never takes more raw bits than it has entries
  const words = heap.take(STATE_BYTES + total * 2)
  const wordsEnd = words + STATE_BYTES + total * 2
  writeStrata(heap, strata, parts, nonZeros)
  heap.exports.beginEncoding(symbols, escapes, raw)
  let at = indices
  nonZeros.forEach((count, s) => {
    if (count > 0) heap.exports.encodeStratum(strata + s * STRATUM_BYTES, at)
    at += count * 4
  })
  const rawEnd = heap.exports.finishStrata()
  const ransStart = heap.exports.encodeSymbols(symbols, wordsEnd)
  return {
    nonZeros,
    escapes: heap.bytes(escapes, heap.exports.endOfEscapes() - escapes).slice(),
    rans: heap.bytes(ransStart, wordsEnd - ransStart).slice(),
    raw: heap.bytes(raw, rawEnd - raw).slice(),
  }
}

/** Writes the indices of all strata in order to `indices`; returns the number of non-zeros of each. */
function splitParts(
  heap: WasmHeap,
  parts: readonly PartLayout[],
  positions: readonly Uint32Array[],
  indices: number,
  strataCount: number,
): Uint32Array {
  const input = heap.take(positions.reduce((most, list) => Math.max(most, list.length), 0) * 4)
  const counts = heap.take(strataCount * 4)
  const rowClasses = heap.take(largest(parts, rowsOf))
  const maxCols = largest(parts, (part) => (isUndivided(part) ? 0 : part.cols))
  const colClasses = heap.take(maxCols)
  const ranks = heap.take(maxCols * 4)
  const next = heap.take(MAX_STRATA * 4)
  let at = indices
  let s = 0
  parts.forEach((part, p) => {
    const list = positions[p]!
    if (isUndivided(part)) {
      heap.write(at, list)
      heap.words(counts + s * 4, 1)[0] = list.length
    } else {
      heap.write(input, list)
      heap.exports.splitPart(
        input,
        list.length,
        part.cols,
        writeClasses(heap, rowClasses, part.rowClasses),
        writeClasses(heap, colClasses, part.colClasses),
        part.colClassCount,
        part.strata.length,
        counts + s * 4,
        next,
        ranks,
        at,
      )
    }
    at += list.length * 4
    s += part.strata.length
  })
  return heap.words(counts, strataCount).slice()
}

// ---- decoder ----

/** Addresses of the working blocks of decodeDivided. */
interface DecodeBlocks {
  readonly indices: number
  readonly positions: number
  readonly rowClasses: number
  readonly colClasses: number
  readonly rowStarts: number
  readonly colStarts: number
  readonly rows: number
  readonly cols: number
  readonly mask: number
  readonly signs: number
}

const STARTS_BYTES = 9 * 4

function takeDecodeBlocks(heap: WasmHeap, parts: readonly PartLayout[], nonZeros: Uint32Array): DecodeBlocks {
  const divided = parts.filter((part) => !isUndivided(part))
  const rows = largest(divided, rowsOf)
  const cols = largest(divided, (part) => part.cols)
  const planeBytes = Math.ceil(largest(divided, (part) => part.cells) / 32) * 4
  return {
    indices: heap.take(nonZeros.reduce((most, count) => Math.max(most, count), 0) * 4),
    positions: heap.take(largest(divided, (part) => part.cells) * 4),
    rowClasses: heap.take(rows),
    colClasses: heap.take(cols),
    rowStarts: heap.take(STARTS_BYTES),
    colStarts: heap.take(STARTS_BYTES),
    rows: heap.take(rows * 4),
    cols: heap.take(cols * 4),
    mask: heap.take(planeBytes),
    signs: heap.take(planeBytes),
  }
}

function decode(heap: WasmHeap, parts: readonly PartLayout[], sections: SgrSections): Uint32Array[] {
  const { nonZeros, rans, escapes, raw } = sections
  heap.release()
  const strata = heap.take(nonZeros.length * STRATUM_BYTES)
  const ransAt = heap.take(rans.length)
  const escapesAt = heap.take(escapes.length)
  const rawAt = heap.take(raw.length)
  const blocks = takeDecodeBlocks(heap, parts, nonZeros)
  heap.write(ransAt, rans)
  heap.write(escapesAt, escapes)
  heap.write(rawAt, raw)
  writeStrata(heap, strata, parts, nonZeros)
  check(heap.exports.beginDecoding(ransAt, ransAt + rans.length, escapesAt, escapesAt + escapes.length, rawAt))
  let s = 0
  const decoded = parts.map((part) => {
    const counts = nonZeros.subarray(s, s + part.strata.length)
    const stratum = strata + s * STRATUM_BYTES
    s += part.strata.length
    return isUndivided(part)
      ? decodeUndivided(heap, counts[0]!, stratum, blocks.indices)
      : decodeDivided(heap, part, counts, stratum, blocks)
  })
  check(heap.exports.finishDecoding())
  return decoded
}

function decodeUndivided(heap: WasmHeap, count: number, stratum: number, indices: number): Uint32Array {
  if (count === 0) return new Uint32Array(0)
  check(heap.exports.decodeStratum(stratum, indices))
  return heap.words(indices, count).slice()
}

/** Strata are marked in bit planes of the part, which then give the positions in order. */
function decodeDivided(
  heap: WasmHeap,
  part: PartLayout,
  counts: Uint32Array,
  firstStratum: number,
  blocks: DecodeBlocks,
): Uint32Array {
  const { exports } = heap
  const { cols, colClassCount } = part
  const rowClasses = writeClasses(heap, blocks.rowClasses, part.rowClasses)
  const colClasses = writeClasses(heap, blocks.colClasses, part.colClasses)
  exports.groupByClass(rowClasses, rowsOf(part), cols, blocks.rowStarts, blocks.rows)
  exports.groupByClass(colClasses, cols, 1, blocks.colStarts, blocks.cols)
  const rowStarts = heap.words(blocks.rowStarts, STARTS_BYTES / 4)
  const colStarts = heap.words(blocks.colStarts, STARTS_BYTES / 4)
  const planeBytes = Math.ceil(part.cells / 32) * 4
  heap.bytes(blocks.mask, planeBytes).fill(0)
  heap.bytes(blocks.signs, planeBytes).fill(0)
  counts.forEach((count, s) => {
    if (count === 0) return
    check(exports.decodeStratum(firstStratum + s * STRATUM_BYTES, blocks.indices))
    const a = Math.floor(s / colClassCount)
    const b = s % colClassCount
    const width = colStarts[b + 1]! - colStarts[b]!
    const rows = blocks.rows + rowStarts[a]! * 4
    const columns = blocks.cols + colStarts[b]! * 4
    exports.markStratum(blocks.indices, count, rows, columns, width, blocks.mask, blocks.signs)
  })
  const total = exports.planesToPositions(blocks.mask, blocks.signs, part.cells, blocks.positions)
  return heap.words(blocks.positions, total).slice()
}
