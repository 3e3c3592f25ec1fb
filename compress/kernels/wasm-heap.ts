/** The WebAssembly instance of this thread and its linear memory: hands out blocks, grows as needed, is reused. */
import { WASM_BASE64 } from './wasm-bytes.ts'

/** Exports of assembly/index.ts. Addresses and counts are u32; booleans do not occur. */
export interface WasmExports {
  readonly memory: WebAssembly.Memory
  heapBase(): number
  widenF16(source: number, target: number, n: number): void
  widenBf16(source: number, target: number, n: number): void
  narrowF16(source: number, target: number, n: number): void
  narrowBf16(source: number, target: number, n: number): void
  subtract(acc: number, base: number, n: number): void
  axpy(acc: number, x: number, n: number, weight: number): void
  matmulAdd(out: number, a: number, b: number, m: number, k: number, n: number, factor: number): void
  moments(x: number, n: number, state: number): number
  histogramHigh(x: number, n: number, tables: number): void
  joinHighTables(tables: number): void
  histogramLow(x: number, n: number, high: number, table: number): void
  collect(x: number, n: number, first: number, lowest: number, entries: number, magnitudes: number): number
  marginals(positions: number, count: number, cols: number, rowCounts: number, colCounts: number): void
  setTies(ties: number): void
  select(x: number, n: number, first: number, threshold: number, out: number): number
  setTables(entries: number, ranges: number, escapes: number): void
  beginEncoding(symbols: number, escapes: number, raw: number): void
  encodeStratum(stratum: number, indices: number): void
  finishStrata(): number
  endOfEscapes(): number
  encodeSymbols(symbols: number, end: number): number
  beginDecoding(rans: number, ransEnd: number, escapes: number, escapesEnd: number, raw: number): number
  decodeStratum(stratum: number, out: number): number
  finishDecoding(): number
  splitPart(
    positions: number,
    count: number,
    cols: number,
    rowClasses: number,
    colClasses: number,
    colClassCount: number,
    strata: number,
    counts: number,
    next: number,
    ranks: number,
    out: number,
  ): void
  groupByClass(classes: number, length: number, step: number, starts: number, grouped: number): void
  markStratum(
    indices: number,
    count: number,
    rows: number,
    columns: number,
    width: number,
    mask: number,
    signs: number,
  ): void
  planesToPositions(mask: number, signs: number, cells: number, out: number): number
  placeStratum(
    indices: number,
    count: number,
    rows: number,
    columns: number,
    width: number,
    cols: number,
    axis: number,
    groups: number,
  ): void
  groupsOfRun(cells: number, count: number, cols: number, firstColumn: number, axis: number, groups: number): void
  applyTrits(entries: number, count: number, groups: number, pairs: number, sink: number, out: number): void
  fill16(out: number, n: number, bits: number): void
  fill32(out: number, n: number, bits: number): void
  quieten16(values: number, n: number, infinity: number, quiet: number): void
}

const PAGE = 65536
/** Callers work in chunks, so more than this is a bug. The module itself is built with the same maximum. */
const MAX_HEAP_BYTES = 1024 * PAGE
/** Kernels may read and write this far past a block. */
const PADDING = 64

export class WasmHeap {
  readonly exports: WasmExports
  #base: number
  #next: number

  constructor(module: WebAssembly.Module) {
    this.exports = new WebAssembly.Instance(module, {
      env: {
        abort: () => {
          throw new Error('the WebAssembly kernels aborted')
        },
      },
    }).exports as unknown as WasmExports
    this.#base = this.exports.heapBase()
    this.#next = this.#base
  }

  /** Address of a block that stays until the thread ends. Releases all blocks of take(). */
  keep(bytes: number): number {
    this.release()
    const address = this.take(bytes)
    this.#base = this.#next
    return address
  }

  /** Address of a block of `bytes`, with whatever it held before; valid until release(). */
  take(bytes: number): number {
    const address = Math.ceil(this.#next / 16) * 16
    const end = address + bytes + PADDING
    if (end > MAX_HEAP_BYTES) throw new Error(`kernel heap: ${end} bytes asked for, the most is ${MAX_HEAP_BYTES}`)
    const { memory } = this.exports
    const missing = end - memory.buffer.byteLength
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE))
    this.#next = end
    return address
  }

  release(): void {
    this.#next = this.#base
  }

  /** Views of a block. They die when the memory grows: take all blocks first. */
  bytes(address: number, length: number): Uint8Array {
    return new Uint8Array(this.exports.memory.buffer, address, length)
  }

  words(address: number, length: number): Uint32Array {
    return new Uint32Array(this.exports.memory.buffer, address, length)
  }

  /** Copies the bytes of `array` to `address`. */
  write(address: number, array: Uint8Array | Uint16Array | Uint32Array | Float32Array): void {
    this.bytes(address, array.byteLength).set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength))
  }

  /** Copies bytes from `address` over all of `array`. */
  read(address: number, array: Uint8Array | Uint16Array | Uint32Array | Float32Array): void {
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(this.bytes(address, array.byteLength))
  }
}

let heap: WasmHeap | 'unsupported' | undefined

/** The heap of this thread, or undefined where the engine has no WebAssembly SIMD. */
export function wasmHeap(): WasmHeap | undefined {
  heap ??= open()
  return heap === 'unsupported' ? undefined : heap
}

function open(): WasmHeap | 'unsupported' {
  const bytes = Uint8Array.from(atob(WASM_BASE64), (char) => char.charCodeAt(0))
  if (typeof WebAssembly !== 'object' || !WebAssembly.validate(bytes)) return 'unsupported'
  return new WasmHeap(new WebAssembly.Module(bytes))
}
