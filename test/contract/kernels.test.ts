import { jsKernels } from '../../compress/kernels/js.ts'
import { wasmKernels } from '../../compress/kernels/wasm.ts'
import { kernelsParitySuite, kernelsSuite } from './kernels.suite.ts'

kernelsSuite('js', () => jsKernels)
kernelsSuite('wasm', wasmKernels)
kernelsParitySuite('wasm', wasmKernels)
