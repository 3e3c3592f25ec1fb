/** A codec that decodes every frame it has written and compares: what reaches a file is known to come back. */
import type { EncodePart, TritCodec } from './codecs/trit-codec.ts'

/** `codec` with encodeFrame checked. A difference is a bug in the codec, so the error is a plain one. */
export function checkedCodec(codec: TritCodec): TritCodec {
  return {
    id: codec.id,
    name: codec.name,
    chooseSide: (counts) => codec.chooseSide(counts),
    sideLength: (bytes, offset, rows, cols) => codec.sideLength(bytes, offset, rows, cols),
    decodeFrame: (bytes, parts) => codec.decodeFrame(bytes, parts),
    encodeFrame(parts) {
      const bytes = codec.encodeFrame(parts)
      codec.decodeFrame(bytes, parts).forEach((decoded, i) => {
        if (!sameSet(decoded, (parts[i] as EncodePart).positions)) {
          throw new Error(`codec ${codec.name} does not return what it was given (part ${i} of ${parts.length})`)
        }
      })
      return bytes
    },
  }
}

/** Both hold indices with a sign bit; `expected` ascends by index, `decoded` may come in any order. */
function sameSet(decoded: Uint32Array, expected: Uint32Array): boolean {
  if (decoded.length !== expected.length) return false
  if (isEqual(decoded, expected)) return true
  const a = decoded.slice().sort()
  const b = expected.slice().sort()
  return isEqual(a, b)
}

function isEqual(a: Uint32Array, b: Uint32Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
