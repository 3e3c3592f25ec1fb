/** Checks a safetensors header as soon as its bytes have arrived, so that a bad file dies in its first megabyte. */
import { TensorError } from '../../tensors/errors.ts'
import { dataBytes, headerLength, parseHeader } from '../../tensors/safetensors-header.ts'
import type { StreamWatch } from './spool.ts'

const LENGTH_BYTES = 8

/** `path` is what errors call the file. The header's text is kept until the file's size is known, then dropped. */
export function headerWatch(path: string): StreamWatch {
  let pending: Uint8Array[] = []
  let have = 0
  let need = LENGTH_BYTES
  let text: Uint8Array | undefined
  let promised = 0
  return {
    push(bytes) {
      if (text !== undefined) return
      pending.push(bytes)
      have += bytes.byteLength
      if (have < need) return
      const start = Buffer.concat(pending)
      need = LENGTH_BYTES + named(path, () => headerLength(start.subarray(0, LENGTH_BYTES)))
      pending = [start]
      if (have < need) return
      text = start.subarray(LENGTH_BYTES, need)
      promised = need + dataBytes(named(path, () => parseHeader(start.subarray(LENGTH_BYTES, need))).tensors)
      pending = []
    },
    end(size) {
      const header = text
      if (header === undefined) {
        throw new TensorError('SAFETENSORS_INVALID', `${path} has ${size} bytes; its header alone needs ${need}`, {
          file: path,
          size,
          need,
        })
      }
      // The parser says which tensor is cut; this file is wrong, so parsing its header again costs nobody anything.
      if (size !== promised) named(path, () => parseHeader(header, size))
    },
  }
}

/** Errors of the parser know the tensor, not the file: an upload may hold many. */
function named<T>(path: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof TensorError)) throw error
    throw new TensorError(error.code, `${path}: ${error.message}`, { ...error.detail, file: path })
  }
}
