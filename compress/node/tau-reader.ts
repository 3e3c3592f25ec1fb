/** Reads tensors of a task vector from local files: what a worker does first with the places it was given. */
import { type Dtype, dtypeBytes, viewAsF32 } from '../../tensors/dtype.ts'
import { openFileSource } from '../../tensors/node/file-source.ts'
import { elementCount } from '../../tensors/tensor.ts'
import type { TensorLocation } from '../../tensors/tensor-location.ts'
import { kernels } from '../kernels/default.ts'
import { momentsOf } from '../statistics.ts'
import type { TauTensor } from '../task-vector.ts'

/** Entries converted at a time: the tensor itself is in memory once, everything on the way to it in small pieces. */
const CHUNK_ENTRIES = 2 ** 20

/** The tensor's little-endian bytes. Throws SOURCE_TRUNCATED. */
export async function readLocation(location: TensorLocation, signal?: AbortSignal): Promise<Uint8Array> {
  const file = await openFileSource(location.path)
  try {
    return await file.read(location.start, location.end, signal)
  } finally {
    await file.close()
  }
}

/** tau of one tensor, row-major, in fresh memory: f32(expert) - f32(origin), each rounded to f32. */
export async function readTau({ location, origin }: TauTensor, signal?: AbortSignal): Promise<Float32Array> {
  const tau = new Float32Array(elementCount(location.shape))
  await forEachChunk(location, signal, (values, offset) => tau.set(values, offset))
  if (origin === 1) {
    for (let i = 0; i < tau.length; i++) tau[i] = (tau[i] as number) - 1
  } else if (origin !== 0) {
    await forEachChunk(origin, signal, (values, offset) => {
      kernels().subtract(tau.subarray(offset, offset + values.length), values)
    })
  }
  return tau
}

/** Throws NOT_FINITE, with the index, if a value of a floating tensor is NaN or infinite. */
export function checkFinite(name: string, bytes: Uint8Array, dtype: Dtype): void {
  const step = CHUNK_ENTRIES * dtypeBytes(dtype)
  for (let start = 0; start < bytes.length; start += step) {
    momentsOf(valuesOf(bytes.subarray(start, start + step), dtype), name, start / dtypeBytes(dtype))
  }
}

async function forEachChunk(
  location: TensorLocation,
  signal: AbortSignal | undefined,
  take: (values: Float32Array, offset: number) => void,
): Promise<void> {
  const size = dtypeBytes(location.dtype)
  const file = await openFileSource(location.path)
  try {
    for (let start = location.start; start < location.end; start += CHUNK_ENTRIES * size) {
      const end = Math.min(location.end, start + CHUNK_ENTRIES * size)
      take(valuesOf(await file.read(start, end, signal), location.dtype), (start - location.start) / size)
    }
  } finally {
    await file.close()
  }
}

/** As f32; may be a view of `bytes`. */
function valuesOf(bytes: Uint8Array, dtype: Dtype): Float32Array {
  if ((dtype !== 'F16' && dtype !== 'BF16') || bytes.byteOffset % 2 !== 0) return viewAsF32(bytes, dtype)
  const bits = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2)
  const values = new Float32Array(bits.length)
  kernels().widen(bits, dtype, values)
  return values
}
