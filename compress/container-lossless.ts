/** What a lossless tensor of a container needs before its chunks are read: memory, and the right base. */
import { crc32 } from './bytes/crc32.ts'
import type { LosslessTensor } from './container-map.ts'
import { CompressError } from './errors.ts'

/** The machine may have less memory than the limits allow a tensor to take. */
export function allocate({ name, bytes }: LosslessTensor): Uint8Array {
  try {
    return new Uint8Array(bytes)
  } catch (cause) {
    throw new CompressError(
      'CONTAINER_INVALID',
      `container: tensor ${name} of ${bytes} bytes does not fit in memory`,
      { tensor: name, bytes },
      { cause },
    )
  }
}

/** The base's bytes that the tensor was XORed with, undefined where it was not. Throws BASE_REQUIRED, BASE_MISMATCH. */
export function checkReference(tensor: LosslessTensor, reference: Uint8Array | undefined): Uint8Array | undefined {
  const { name, bytes, referenceCrc } = tensor
  if (referenceCrc === null) return undefined
  if (reference === undefined)
    throw new CompressError(
      'BASE_REQUIRED',
      `tensor ${name} is stored as a difference to the base: open the base too`,
      {
        tensor: name,
      },
    )
  if (reference.length === bytes && crc32(reference) === referenceCrc) return reference
  throw new CompressError('BASE_MISMATCH', `the base's ${name} is not the one the expert was compressed against`, {
    tensor: name,
    bytes: reference.length,
    expectedBytes: bytes,
  })
}
