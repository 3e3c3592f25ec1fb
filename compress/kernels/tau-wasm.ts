/** Kernels on pieces of a task vector in WebAssembly: the definition and the shapes are in tau-kernels.ts. */
import { type Dtype, dtypeBytes, toF32 } from '../../tensors/dtype.ts'
import type { Candidates, MomentLanes, NonFinite, TauKernels, TauPiece } from './tau-kernels.ts'
import { jsTauKernels } from './tau-kernels.ts'
import { type WasmHeap, wasmHeap } from './wasm-heap.ts'

/** Entries of tau that are made and looked at in one go: all that is read and written stays in the second-level cache. */
const CHUNK = 2 ** 15
const HIGH_BINS = 2 ** 15
const LOW_BINS = 2 ** 16

let chosen: TauKernels | undefined

/** WebAssembly where the engine has its SIMD, plain JavaScript otherwise. Same bits either way. */
export function tauKernels(): TauKernels {
  const heap = wasmHeap()
  chosen ??= heap === undefined ? jsTauKernels : wasmTauKernels(heap)
  return chosen
}

export function wasmTauKernels(heap: WasmHeap): TauKernels {
  return {
    moments: (piece, lanes) => scan(heap, piece, lanes, () => {}),
    measure: (piece, lanes, high) => measure(heap, piece, lanes, high),
    histogramLow: (piece, high, counts) => histogramLow(heap, piece, high, counts),
    collect: (piece, lowest, into, lanes) => collect(heap, piece, lowest, into, lanes),
  }
}

function measure(heap: WasmHeap, piece: TauPiece, lanes: MomentLanes, high: Uint32Array): NonFinite | undefined {
  heap.release()
  const tables = heap.take(4 * HIGH_BINS * 4)
  heap.bytes(tables, 4 * HIGH_BINS * 4).fill(0)
  const found = scan(heap, piece, lanes, (tau, n) => heap.exports.histogramHigh(tau, n, tables), 'keep blocks')
  heap.exports.joinHighTables(tables)
  addCounts(high, heap.words(tables, HIGH_BINS))
  return found
}

function histogramLow(heap: WasmHeap, piece: TauPiece, high: number, counts: Uint32Array): void {
  heap.release()
  const table = heap.take(LOW_BINS * 4)
  heap.bytes(table, LOW_BINS * 4).fill(0)
  scan(heap, piece, undefined, (tau, n) => heap.exports.histogramLow(tau, n, high, table), 'keep blocks')
  addCounts(counts, heap.words(table, LOW_BINS))
}

function addCounts(counts: Uint32Array, more: Uint32Array): void {
  for (let i = 0; i < more.length; i++) counts[i]! += more[i]!
}

function collect(
  heap: WasmHeap,
  piece: TauPiece,
  lowest: number,
  into: Candidates,
  lanes: MomentLanes | undefined,
): NonFinite | undefined {
  heap.release()
  const entries = heap.take(CHUNK * 4)
  const magnitudes = heap.take(CHUNK * 4)
  const work = (tau: number, n: number, first: number) => {
    const count = heap.exports.collect(tau, n, first, lowest, entries, magnitudes)
    into.append(heap.words(entries, count), heap.words(magnitudes, count))
  }
  return scan(heap, piece, lanes, work, 'keep blocks')
}

/** Makes tau chunk by chunk in linear memory, adds its moments where `lanes` are given, and shows each chunk to `work`. */
function scan(
  heap: WasmHeap,
  piece: TauPiece,
  lanes: MomentLanes | undefined,
  work: (tau: number, n: number, first: number) => void,
  blocks?: 'keep blocks',
): NonFinite | undefined {
  if (blocks === undefined) heap.release()
  const tau = heap.take(CHUNK * 4)
  const base = heap.take(CHUNK * 4)
  const codes = heap.take(CHUNK * 4)
  const state = heap.take(12 * 8)
  const { origin, first } = piece
  const entries = piece.values.length / dtypeBytes(piece.dtype)
  if (origin === 1) heap.exports.fill32(base, CHUNK, 0x3f80_0000)
  if (lanes !== undefined) new Float64Array(heap.exports.memory.buffer, state, 12).set(lanes)
  let found: NonFinite | undefined
  for (let start = 0; start < entries; start += CHUNK) {
    const n = Math.min(CHUNK, entries - start)
    load(heap, piece.values, piece.dtype, start, n, codes, tau)
    if (typeof origin === 'object') load(heap, origin.values, origin.dtype, start, n, codes, base)
    if (origin !== 0) heap.exports.subtract(tau, base, n)
    const bad = lanes === undefined ? -1 : heap.exports.moments(tau, n, state)
    if (bad >= 0) found ??= { index: first + start + bad, value: valueAt(heap, tau + bad * 4) }
    work(tau, n, first + start)
  }
  lanes?.set(new Float64Array(heap.exports.memory.buffer, state, 12))
  return found
}

function valueAt(heap: WasmHeap, address: number): number {
  return new Float32Array(heap.exports.memory.buffer, address, 1)[0]!
}

/** Entries [start, start + n) of `values` as f32 at `target`. */
function load(
  heap: WasmHeap,
  values: Uint8Array,
  dtype: Dtype,
  start: number,
  n: number,
  codes: number,
  target: number,
): void {
  const size = dtypeBytes(dtype)
  const bytes = values.subarray(start * size, (start + n) * size)
  if (dtype === 'F32') heap.write(target, bytes)
  else if (dtype === 'BF16' || dtype === 'F16') {
    heap.write(codes, bytes)
    if (dtype === 'BF16') heap.exports.widenBf16(codes, target, n)
    else heap.exports.widenF16(codes, target, n)
  } else heap.write(target, toF32(bytes, dtype))
}
