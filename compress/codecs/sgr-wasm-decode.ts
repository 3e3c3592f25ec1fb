/** The decoder of SGR in WebAssembly: to positions, or straight to numbers. Its loops: kernels/assembly/{sgr-*,trit-values}.ts. */
import type { WasmHeap } from '../kernels/wasm-heap.ts'
import { invalid, type SgrSections } from './sgr-frame.ts'
import type { PartLayout } from './sgr-layout.ts'
import { isUndivided, largest, rowsOf, STRATUM_BYTES, writeClasses, writeStrata } from './sgr-wasm-strata.ts'
import type { FramePart } from './trit-codec.ts'
import type { TritTarget } from './trit-values.ts'

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

// ---- to positions ----

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

/** Addresses of a frame's sections and of the description of its strata. */
interface SectionBlocks {
  readonly strata: number
  readonly rans: number
  readonly escapes: number
  readonly raw: number
}

function takeSections(heap: WasmHeap, { nonZeros, rans, escapes, raw }: SgrSections): SectionBlocks {
  return {
    strata: heap.take(nonZeros.length * STRATUM_BYTES),
    rans: heap.take(rans.length),
    escapes: heap.take(escapes.length),
    raw: heap.take(raw.length),
  }
}

/** After all blocks are taken: copies the sections in. */
function beginDecoding(
  heap: WasmHeap,
  at: SectionBlocks,
  parts: readonly PartLayout[],
  { nonZeros, rans, escapes, raw }: SgrSections,
): void {
  heap.write(at.rans, rans)
  heap.write(at.escapes, escapes)
  heap.write(at.raw, raw)
  writeStrata(heap, at.strata, parts, nonZeros)
  const ransEnd = at.rans + rans.length
  check(heap.exports.beginDecoding(at.rans, ransEnd, at.escapes, at.escapes + escapes.length, at.raw))
}

export function decodePositions(heap: WasmHeap, parts: readonly PartLayout[], sections: SgrSections): Uint32Array[] {
  const { nonZeros } = sections
  heap.release()
  const input = takeSections(heap, sections)
  const blocks = takeDecodeBlocks(heap, parts, nonZeros)
  const { strata } = input
  beginDecoding(heap, input, parts, sections)
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

/** Addresses of a stratum's row starts and of its columns, and how many columns. */
interface StratumAxes {
  readonly rows: number
  readonly columns: number
  readonly width: number
}

/** Calls `work` for each stratum of a divided part that has non-zeros. */
function eachStratum(
  heap: WasmHeap,
  part: PartLayout,
  counts: Uint32Array,
  blocks: DecodeBlocks,
  work: (stratum: number, count: number, axes: StratumAxes) => void,
): void {
  const { exports } = heap
  const { cols, colClassCount } = part
  const rowClasses = writeClasses(heap, blocks.rowClasses, part.rowClasses)
  const colClasses = writeClasses(heap, blocks.colClasses, part.colClasses)
  exports.groupByClass(rowClasses, rowsOf(part), cols, blocks.rowStarts, blocks.rows)
  exports.groupByClass(colClasses, cols, 1, blocks.colStarts, blocks.cols)
  const rowStarts = heap.words(blocks.rowStarts, STARTS_BYTES / 4)
  const colStarts = heap.words(blocks.colStarts, STARTS_BYTES / 4)
  counts.forEach((count, s) => {
    if (count === 0) return
    const a = Math.floor(s / colClassCount)
    const b = s % colClassCount
    const width = colStarts[b + 1]! - colStarts[b]!
    work(s, count, { rows: blocks.rows + rowStarts[a]! * 4, columns: blocks.cols + colStarts[b]! * 4, width })
  })
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
  const planeBytes = Math.ceil(part.cells / 32) * 4
  heap.bytes(blocks.mask, planeBytes).fill(0)
  heap.bytes(blocks.signs, planeBytes).fill(0)
  eachStratum(heap, part, counts, blocks, (s, count, { rows, columns, width }) => {
    check(exports.decodeStratum(firstStratum + s * STRATUM_BYTES, blocks.indices))
    exports.markStratum(blocks.indices, count, rows, columns, width, blocks.mask, blocks.signs)
  })
  const total = exports.planesToPositions(blocks.mask, blocks.signs, part.cells, blocks.positions)
  return heap.words(blocks.positions, total).slice()
}

// ---- to numbers ----

/** By the number that placeStratum and groupsOfRun take. */
const AXES = { tensor: 0, row: 1, column: 2 } as const
/** By the number that applyTrits takes. */
const SINKS = { write: { F16: 0, BF16: 0, F32: 1 }, add: { BF16: 2, F16: 3, F32: 4 } } as const
/** More column scales than this would have to be copied in for every frame. */
const MAX_COLUMN_SCALES = 2 ** 18

/** See TritCodec.decodeInto. The frame's values are made in linear memory and copied out once, when all is checked. */
export function decodeInto(
  heap: WasmHeap,
  part: FramePart,
  layout: PartLayout,
  sections: SgrSections,
  target: TritTarget,
): boolean {
  const { axis, out } = target
  if (axis === 'column' && part.cols > MAX_COLUMN_SCALES) return false
  if (out.length !== part.cells) throw new Error(`${out.length} values for ${part.cells} trits`)
  const pairs = pairsOfPart(target, part)
  const { nonZeros } = sections
  heap.release()
  const input = takeSections(heap, sections)
  const blocks = takeDecodeBlocks(heap, [layout], nonZeros)
  const run: ValueRun = {
    part,
    axis: AXES[axis],
    sink: SINKS[target.operation][target.dtype],
    groups: axis === 'tensor' ? 0 : heap.take(nonZeros.reduce((most, count) => Math.max(most, count), 0) * 4),
    pairs: heap.take(pairs.byteLength),
    values: heap.take(out.byteLength),
  }
  beginDecoding(heap, input, [layout], sections)
  heap.write(run.pairs, pairs)
  loadValues(heap, target, run.values)
  if (isUndivided(layout)) decodeRun(heap, nonZeros[0]!, input.strata, blocks.indices, run)
  else decodeStrata(heap, layout, nonZeros, input.strata, blocks, run)
  check(heap.exports.finishDecoding())
  heap.read(run.values, out)
  return true
}

interface ValueRun {
  readonly part: FramePart
  readonly axis: number
  readonly sink: number
  /** Addresses. */
  readonly groups: number
  readonly pairs: number
  readonly values: number
}

/** The pairs that the part needs, its first row or column first. */
function pairsOfPart({ axis, pairs }: TritTarget, { start, cells, cols }: FramePart): Uint32Array {
  if (axis !== 'row') return pairs
  const first = Math.floor(start / cols)
  return pairs.subarray(2 * first, 2 * (Math.floor((start + cells - 1) / cols) + 1))
}

/** What the values are before any trit. */
function loadValues(heap: WasmHeap, target: TritTarget, address: number): void {
  const { exports } = heap
  const { dtype, out } = target
  if (target.operation === 'write') {
    if (dtype === 'F32') exports.fill32(address, out.length, target.zero)
    else exports.fill16(address, out.length, target.zero)
    return
  }
  if (target.from.length !== out.length) throw new Error(`${target.from.length} values for ${out.length} trits`)
  heap.write(address, target.from)
  if (dtype === 'BF16') exports.quieten16(address, out.length, 0x7f80, 0x40)
  else if (dtype === 'F16') exports.quieten16(address, out.length, 0x7c00, 0x200)
}

function decodeRun(heap: WasmHeap, count: number, stratum: number, indices: number, run: ValueRun): void {
  if (count === 0) return
  const { exports } = heap
  const { start, cols } = run.part
  check(exports.decodeStratum(stratum, indices))
  if (run.groups !== 0) exports.groupsOfRun(indices, count, cols, start % cols, run.axis, run.groups)
  exports.applyTrits(indices, count, run.groups, run.pairs, run.sink, run.values)
}

function decodeStrata(
  heap: WasmHeap,
  layout: PartLayout,
  counts: Uint32Array,
  firstStratum: number,
  blocks: DecodeBlocks,
  run: ValueRun,
): void {
  const { exports } = heap
  eachStratum(heap, layout, counts, blocks, (s, count, { rows, columns, width }) => {
    check(exports.decodeStratum(firstStratum + s * STRATUM_BYTES, blocks.indices))
    exports.placeStratum(blocks.indices, count, rows, columns, width, layout.cols, run.axis, run.groups)
    exports.applyTrits(blocks.indices, count, run.groups, run.pairs, run.sink, run.values)
  })
}
