/** What the cases of spec/vectors/valid are made of. */
import type { ContainerHeader } from '../../compress/container-table.ts'
import type { Scales } from '../../compress/quantized-tensor.ts'
import type { Dtype } from '../../tensors/dtype.ts'
import type { LosslessSpec, TensorSpec, TritSpec } from '../../test/unit/compress/container-builder.ts'

export interface ValidCase {
  readonly name: string
  readonly description: string
  readonly codec: 'bitplane' | 'rice' | 'sgr'
  readonly header: ContainerHeader
  readonly tensors: readonly TensorSpec[]
  /** By the base's names. */
  readonly base?: Readonly<Record<string, BaseTensor>>
  readonly gain?: number
}

export interface BaseTensor {
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
}

export const LORA: ContainerHeader = { kind: 'lora', origin: 'zero', base: null, options: {}, metadata: {} }
export const FULL: ContainerHeader = {
  ...LORA,
  kind: 'full',
  origin: 'base',
  base: { digest: `sha256:${'ab'.repeat(32)}` },
}

export const one = (value: number): Scales => ({ axis: 'tensor', values: Float32Array.of(value) })
export const perRow = (values: Float32Array): Scales => ({ axis: 'row', values })
export const perColumn = (values: Float32Array): Scales => ({ axis: 'column', values })

export function trits(
  name: string,
  shape: number[],
  values: ArrayLike<number>,
  scales: Scales,
  dtype: Dtype = 'F32',
): TritSpec {
  return { name, dtype, shape, trits: values, scales }
}

export function raw(
  name: string,
  dtype: Dtype,
  shape: number[],
  bytes: Uint8Array,
  reference?: Uint8Array,
): LosslessSpec {
  return { name, dtype, shape, bytes, ...(reference ? { reference } : {}) }
}
