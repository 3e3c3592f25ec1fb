/** How the strata of a frame are described to the WebAssembly loops, for sgr-wasm.ts and sgr-wasm-decode.ts. */
import type { WasmHeap } from '../kernels/wasm-heap.ts'
import type { PartLayout } from './sgr-layout.ts'
import { pickTable } from './sgr-tables.ts'

export const STRATUM_BYTES = 16

export function rowsOf(part: PartLayout): number {
  return part.cells / part.cols
}

export function isUndivided(part: PartLayout): boolean {
  return part.strata.length === 1
}

export function largest(parts: readonly PartLayout[], measure: (part: PartLayout) => number): number {
  return parts.reduce((most, part) => Math.max(most, measure(part)), 0)
}

/** Address of the class array after copying it to `address`, or 0 for an axis of one class. */
export function writeClasses(heap: WasmHeap, address: number, classes: Uint8Array | undefined): number {
  if (classes === undefined) return 0
  heap.write(address, classes)
  return address
}

/** Describes each stratum to the module: entries, non-zeros, table, shift. */
export function writeStrata(
  heap: WasmHeap,
  address: number,
  parts: readonly PartLayout[],
  nonZeros: Uint32Array,
): void {
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
