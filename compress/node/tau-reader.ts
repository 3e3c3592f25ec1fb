/** Reads tensors of a task vector from local files: what a worker does first with the place it was given. */
import { toF32 } from '../../tensors/dtype.ts'
import { openFileSource } from '../../tensors/node/file-source.ts'
import type { TensorLocation } from '../../tensors/tensor-location.ts'
import { kernels } from '../kernels/default.ts'
import type { TauTensor } from '../task-vector.ts'

/** The tensor's little-endian bytes. Throws SOURCE_TRUNCATED. */
export async function readLocation(location: TensorLocation, signal?: AbortSignal): Promise<Uint8Array> {
  const file = await openFileSource(location.path)
  try {
    return await file.read(location.start, location.end, signal)
  } finally {
    await file.close()
  }
}

/** tau of one tensor, row-major: f32(expert) - f32(origin), one rounding. Fresh memory, two tensors at the peak. */
export async function readTau(tensor: TauTensor, signal?: AbortSignal): Promise<Float32Array> {
  const tau = toF32(await readLocation(tensor.location, signal), tensor.location.dtype)
  if (tensor.origin === 0) return tau
  if (tensor.origin === 1) {
    for (let i = 0; i < tau.length; i++) tau[i] = (tau[i] as number) - 1
    return tau
  }
  kernels().subtract(tau, toF32(await readLocation(tensor.origin, signal), tensor.origin.dtype))
  return tau
}
