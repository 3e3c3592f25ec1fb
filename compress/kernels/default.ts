/** The kernels to use here: WebAssembly SIMD where the engine has it, plain JavaScript otherwise. Same bits either way. */
import { jsKernels } from './js.ts'
import type { Kernels } from './kernels.ts'
import { wasmKernels } from './wasm.ts'
import { wasmHeap } from './wasm-heap.ts'

let chosen: Kernels | undefined

export function kernels(): Kernels {
  chosen ??= wasmHeap() === undefined ? jsKernels : wasmKernels()
  return chosen
}
