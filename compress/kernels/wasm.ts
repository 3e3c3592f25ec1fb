/**
 * The kernels in WebAssembly SIMD, bit for bit as in js.ts. Inputs are copied into linear memory and results out, in
 * chunks that stay in the second-level cache. Kernels that only follow a list of positions run in JavaScript: copying
 * the array they touch would cost more than WebAssembly gains.
 */
import { jsKernels } from './js.ts'
import type { Kernels } from './kernels.ts'
import { type WasmHeap, wasmHeap } from './wasm-heap.ts'

/** Elements per chunk; a multiple of the 4 lanes of moments(). */
const CHUNK = 2 ** 16
/** Below this a histogram's tables cost more than counting does. */
const SMALL_HISTOGRAM = 2 ** 15
/** Rows or columns whose counts are kept in linear memory. */
const MAX_COUNTED = 2 ** 20
/** f32 entries of `b` that matmulAdd holds at once. */
const MATMUL_BLOCK = 2 ** 22

/** @throws Error where the engine has no WebAssembly SIMD; kernels() in default.ts falls back instead. */
export function wasmKernels(): Kernels {
  const heap = wasmHeap()
  if (heap === undefined) throw new Error('this engine has no WebAssembly SIMD')
  return {
    name: 'wasm',
    widen: (bits, dtype, out) => widen(heap, bits, dtype, out),
    narrow: (values, dtype, out) => narrow(heap, values, dtype, out),
    subtract: (acc, base) => combine(heap, acc, base, (a, b, n) => heap.exports.subtract(a, b, n)),
    axpy: (acc, x, weight) => combine(heap, acc, x, (a, b, n) => heap.exports.axpy(a, b, n, weight)),
    moments: (x) => moments(heap, x),
    histogramHigh: (x, counts) => histogramHigh(heap, x, counts),
    histogramLow: (x, high, counts) => histogramLow(heap, x, high, counts),
    select: (x, thresholdBits, ties) => select(heap, x, thresholdBits, ties),
    marginals: (positions, rows, cols) => marginals(heap, positions, rows, cols),
    matmulAdd: (out, a, b, m, k, n, factor) => matmulAdd(heap, out, a, b, m, k, n, factor),
  }
}

/** Calls `work` with the bounds of each chunk of `length` elements. */
function eachChunk(length: number, work: (start: number, end: number) => void): void {
  for (let start = 0; start < length; start += CHUNK) work(start, Math.min(length, start + CHUNK))
}

function sameLength(a: ArrayLike<number>, b: ArrayLike<number>): void {
  if (a.length !== b.length) throw new Error(`kernel arguments differ in length: ${a.length} and ${b.length}`)
}

function takeChunk(heap: WasmHeap, length: number, bytesPerElement: number): number {
  return heap.take(Math.min(length, CHUNK) * bytesPerElement)
}

function widen(heap: WasmHeap, bits: Uint16Array, dtype: 'F16' | 'BF16', out: Float32Array): void {
  sameLength(bits, out)
  heap.release()
  const source = takeChunk(heap, bits.length, 2)
  const target = takeChunk(heap, bits.length, 4)
  const convert = dtype === 'F16' ? heap.exports.widenF16 : heap.exports.widenBf16
  eachChunk(bits.length, (start, end) => {
    heap.write(source, bits.subarray(start, end))
    convert(source, target, end - start)
    heap.read(target, out.subarray(start, end))
  })
}

function narrow(heap: WasmHeap, values: Float32Array, dtype: 'F16' | 'BF16', out: Uint16Array): void {
  sameLength(values, out)
  heap.release()
  const source = takeChunk(heap, values.length, 4)
  const target = takeChunk(heap, values.length, 2)
  const convert = dtype === 'F16' ? heap.exports.narrowF16 : heap.exports.narrowBf16
  eachChunk(values.length, (start, end) => {
    heap.write(source, values.subarray(start, end))
    convert(source, target, end - start)
    heap.read(target, out.subarray(start, end))
  })
}

function combine(
  heap: WasmHeap,
  acc: Float32Array,
  other: Float32Array,
  operation: (acc: number, other: number, n: number) => void,
): void {
  sameLength(acc, other)
  heap.release()
  const left = takeChunk(heap, acc.length, 4)
  const right = takeChunk(heap, acc.length, 4)
  eachChunk(acc.length, (start, end) => {
    heap.write(left, acc.subarray(start, end))
    heap.write(right, other.subarray(start, end))
    operation(left, right, end - start)
    heap.read(left, acc.subarray(start, end))
  })
}

function moments(heap: WasmHeap, x: Float32Array): ReturnType<Kernels['moments']> {
  heap.release()
  const source = takeChunk(heap, x.length, 4)
  const state = heap.take(12 * 8)
  heap.bytes(state, 12 * 8).fill(0)
  let nonFinite = -1
  eachChunk(x.length, (start, end) => {
    heap.write(source, x.subarray(start, end))
    const found = heap.exports.moments(source, end - start, state)
    if (found >= 0 && nonFinite < 0) nonFinite = start + found
  })
  const lanes = new Float64Array(heap.exports.memory.buffer, state, 12)
  const join = (first: number) => lanes[first]! + lanes[first + 1]! + (lanes[first + 2]! + lanes[first + 3]!)
  return { sum: join(0), sumSquares: join(4), sumMagnitudes: join(8), nonFinite }
}

function histogramHigh(heap: WasmHeap, x: Float32Array, counts: Uint32Array): void {
  if (x.length < SMALL_HISTOGRAM) {
    jsKernels.histogramHigh(x, counts)
    return
  }
  heap.release()
  const source = takeChunk(heap, x.length, 4)
  const tables = heap.take(4 * 32768 * 4)
  heap.bytes(tables, 4 * 32768 * 4).fill(0)
  eachChunk(x.length, (start, end) => {
    heap.write(source, x.subarray(start, end))
    heap.exports.histogramHigh(source, end - start, tables)
  })
  heap.exports.joinHighTables(tables)
  addCounts(counts, heap.words(tables, 32768))
}

function histogramLow(heap: WasmHeap, x: Float32Array, high: number, counts: Uint32Array): void {
  if (x.length < SMALL_HISTOGRAM) {
    jsKernels.histogramLow(x, high, counts)
    return
  }
  heap.release()
  const source = takeChunk(heap, x.length, 4)
  const table = heap.take(65536 * 4)
  heap.bytes(table, 65536 * 4).fill(0)
  eachChunk(x.length, (start, end) => {
    heap.write(source, x.subarray(start, end))
    heap.exports.histogramLow(source, end - start, high, table)
  })
  addCounts(counts, heap.words(table, 65536))
}

function addCounts(counts: Uint32Array, more: Uint32Array): void {
  for (let i = 0; i < more.length; i++) counts[i]! += more[i]!
}

function select(heap: WasmHeap, x: Float32Array, thresholdBits: number, ties: number): Uint32Array {
  heap.release()
  const source = takeChunk(heap, x.length, 4)
  const target = takeChunk(heap, x.length, 4)
  const kept: Uint32Array[] = []
  heap.exports.setTies(thresholdBits === 0 ? 0 : ties)
  eachChunk(x.length, (start, end) => {
    heap.write(source, x.subarray(start, end))
    const count = heap.exports.select(source, end - start, start, thresholdBits, target)
    kept.push(heap.words(target, count).slice())
  })
  return concatenate(kept)
}

/** Chunk by chunk; each begins in the row where the one before it ended. */
function marginals(
  heap: WasmHeap,
  positions: Uint32Array,
  rows: number,
  cols: number,
): ReturnType<Kernels['marginals']> {
  if (rows > MAX_COUNTED || cols > MAX_COUNTED) return jsKernels.marginals(positions, rows, cols)
  heap.release()
  const source = takeChunk(heap, positions.length, 4)
  const rowCounts = heap.take(rows * 4)
  const colCounts = heap.take(cols * 4)
  heap.bytes(rowCounts, rows * 4).fill(0)
  heap.bytes(colCounts, cols * 4).fill(0)
  eachChunk(positions.length, (start, end) => {
    heap.write(source, positions.subarray(start, end))
    heap.exports.marginals(source, end - start, cols, rowCounts, colCounts)
  })
  return { rowCounts: heap.words(rowCounts, rows).slice(), colCounts: heap.words(colCounts, cols).slice() }
}

function concatenate(arrays: readonly Uint32Array[]): Uint32Array {
  if (arrays.length === 1) return arrays[0]!
  const whole = new Uint32Array(arrays.reduce((sum, array) => sum + array.length, 0))
  let offset = 0
  for (const array of arrays) {
    whole.set(array, offset)
    offset += array.length
  }
  return whole
}

/** Blocks of columns so that b's block fits; blocks of rows so that out's stays in the cache. */
function matmulAdd(
  heap: WasmHeap,
  out: Float32Array,
  a: Float32Array,
  b: Float32Array,
  m: number,
  k: number,
  n: number,
  factor: number,
): void {
  if (k > MATMUL_BLOCK / 16) {
    jsKernels.matmulAdd(out, a, b, m, k, n, factor)
    return
  }
  const width = Math.min(n, k === 0 ? CHUNK : Math.floor(MATMUL_BLOCK / k))
  const height = Math.max(1, Math.min(m, Math.floor((4 * CHUNK) / Math.max(k, width))))
  heap.release()
  const left = heap.take(height * k * 4)
  const right = heap.take(k * width * 4)
  const target = heap.take(height * width * 4)
  for (let col = 0; col < n; col += width) {
    const cols = Math.min(width, n - col)
    copyBlock(b, 0, col, k, cols, n, (row, part) => heap.write(right + row * cols * 4, part))
    for (let row = 0; row < m; row += height) {
      const rows = Math.min(height, m - row)
      heap.write(left, a.subarray(row * k, (row + rows) * k))
      copyBlock(out, row, col, rows, cols, n, (r, part) => heap.write(target + r * cols * 4, part))
      heap.exports.matmulAdd(target, left, right, rows, k, cols, factor)
      copyBlock(out, row, col, rows, cols, n, (r, part) => heap.read(target + r * cols * 4, part))
    }
  }
}

/** Gives `copy` the block's rows one by one, or all at once where they are contiguous. */
function copyBlock(
  matrix: Float32Array,
  row: number,
  col: number,
  rows: number,
  cols: number,
  stride: number,
  copy: (row: number, part: Float32Array) => void,
): void {
  if (cols === stride) copy(0, matrix.subarray(row * stride, (row + rows) * stride))
  else
    for (let r = 0; r < rows; r++) {
      const start = (row + r) * stride + col
      copy(r, matrix.subarray(start, start + cols))
    }
}
