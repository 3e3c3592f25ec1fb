/** Names the content of a model or adapter, whatever files it came in. */
import { createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { compareNames } from '../compare-names.ts'
import type { TensorSource } from '../tensor.ts'

/** Hashed in one go, some ten milliseconds: between slices the server answers others. */
const SLICE_BYTES = 16 << 20

/**
 * `sha256:` and 64 hex digits over the tensors in code-point order of their names; each contributes, in UTF-8,
 * `name NUL dtype NUL d0,d1,... NUL` and then the 32 bytes of the SHA-256 of its little-endian data. Sharding, header
 * order and metadata do not enter. One tensor is in memory at a time.
 */
export async function weightsDigest(source: TensorSource, signal?: AbortSignal): Promise<string> {
  const whole = createHash('sha256')
  const tensors = [...source.tensors].sort((a, b) => compareNames(a.name, b.name))
  for (const { name, dtype, shape } of tensors) {
    signal?.throwIfAborted()
    whole.update(`${name}\0${dtype}\0${shape.join(',')}\0`)
    whole.update(await digestOf(await source.readBytes(name, signal), signal))
  }
  return `sha256:${whole.digest('hex')}`
}

async function digestOf(bytes: Uint8Array, signal?: AbortSignal): Promise<Uint8Array> {
  const hash = createHash('sha256')
  for (let at = 0; at < bytes.byteLength; at += SLICE_BYTES) {
    signal?.throwIfAborted()
    hash.update(bytes.subarray(at, at + SLICE_BYTES))
    if (at + SLICE_BYTES < bytes.byteLength) await nextTurn()
  }
  return hash.digest()
}
