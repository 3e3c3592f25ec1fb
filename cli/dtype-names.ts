import type { Dtype } from '../tensors/dtype.ts'

/** Dtypes that weights can be asked for in, under the names of the Hub's configs and of mergekit. */
export const DTYPE_NAMES: Readonly<Record<string, Dtype>> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' }
