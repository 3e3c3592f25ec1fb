/** The inner loops of SGR in WebAssembly (kernels/assembly/sgr-*.ts). Same bytes and same refusals as sgr-reference.ts. */
import type { WasmHeap } from '../kernels/wasm-heap.ts'
import { type SgrCoder, type SgrSections, STATE_BYTES } from './sgr-frame.ts'
import type { PartLayout } from './sgr-layout.ts'
import { TABLE_COUNT, TABLE_SLOTS, TABLES } from './sgr-tables.ts'
import { decodeInto, decodePositions } from './sgr-wasm-decode.ts'
import { isUndivided, largest, rowsOf, STRATUM_BYTES, writeClasses, writeStrata } from './sgr-wasm-strata.ts'

export function wasmCoder(heap: WasmHeap): SgrCoder {
  loadTables(heap)
  return {
    encode: (parts, positions) => encode(heap, parts, positions),
    decode: (parts, sections) => decodePositions(heap, parts, sections),
    decodeInto: (part, layout, sections, target) => decodeInto(heap, part, layout, sections, target),
  }
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

// ---- encoder ----

const MAX_STRATA = 64

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
