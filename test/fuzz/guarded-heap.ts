/** A kernel heap with zones around every block that nobody may write to. */

import { WASM_BASE64 } from '../../compress/kernels/wasm-bytes.ts'
import { WasmHeap } from '../../compress/kernels/wasm-heap.ts'
import { Violation } from './target.ts'

const GUARD = 64
/** Loops over vectors finish the last one: the rest of it behind a block is theirs. */
const VECTOR = 16
/** No float, index or symbol that a decoder writes in passing. */
const CANARY = 0xa5

export class GuardedHeap extends WasmHeap {
  readonly #blocks: { readonly address: number; readonly bytes: number }[] = []
  /** Blocks of keep(), which stay. */
  #kept = 0

  constructor() {
    super(new WebAssembly.Module(Uint8Array.from(atob(WASM_BASE64), (char) => char.charCodeAt(0))))
  }

  override take(bytes: number): number {
    const before = super.take(bytes + 2 * GUARD + VECTOR)
    const address = before + GUARD
    this.bytes(before, GUARD).fill(CANARY)
    this.bytes(behind(address, bytes), GUARD).fill(CANARY)
    this.#blocks.push({ address, bytes })
    return address
  }

  override keep(bytes: number): number {
    const address = super.keep(bytes)
    this.#kept = this.#blocks.length
    return address
  }

  override release(): void {
    this.check()
    this.#blocks.length = this.#kept
    super.release()
  }

  /** Throws a Violation where a zone is not as it was. */
  check(): void {
    for (const { address, bytes } of this.#blocks) {
      this.#checkZone(address - GUARD, 'before', bytes)
      this.#checkZone(behind(address, bytes), 'behind', bytes)
    }
  }

  #checkZone(start: number, where: string, bytes: number): void {
    const zone = this.bytes(start, GUARD)
    for (let i = 0; i < GUARD; i++)
      if (zone[i] !== CANARY)
        throw new Violation(`a write ${where} a block of ${bytes} bytes, at byte ${i} of the zone`)
  }
}

function behind(address: number, bytes: number): number {
  return address + Math.ceil(bytes / VECTOR) * VECTOR
}
