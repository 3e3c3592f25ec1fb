/** Names the content of a model or adapter, whatever files it came in. */
import { createHash } from 'node:crypto'
import { compareNames } from '../compare-names.ts'
import type { TensorSource } from '../tensor.ts'

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
    whole.update(
      createHash('sha256')
        .update(await source.readBytes(name, signal))
        .digest(),
    )
  }
  return `sha256:${whole.digest('hex')}`
}
