/**
 * Byte planes: all first bytes of the elements, then all second bytes, and so on. The bytes that hold sign and exponent
 * then lie together, where zstd finds the little variety they have. FORMAT.md, "Scales block" and "Lossless chunks".
 */

/** `bytes.length` is a multiple of `elementSize`. Returns the input itself for one-byte elements. */
export function splitPlanes(bytes: Uint8Array, elementSize: number): Uint8Array {
  if (elementSize === 1) return bytes
  const count = elementsOf(bytes, elementSize)
  const planes = new Uint8Array(bytes.length)
  for (let plane = 0; plane < elementSize; plane++) {
    const offset = plane * count
    for (let i = 0, at = plane; i < count; i++, at += elementSize) planes[offset + i] = bytes[at]!
  }
  return planes
}

/** The inverse of splitPlanes. */
export function joinPlanes(planes: Uint8Array, elementSize: number): Uint8Array {
  if (elementSize === 1) return planes
  const count = elementsOf(planes, elementSize)
  const bytes = new Uint8Array(planes.length)
  if (elementSize === 2) joinPairs(planes, bytes, count)
  else if (elementSize === 4) joinQuads(planes, bytes, count)
  else {
    for (let plane = 0; plane < elementSize; plane++) {
      const offset = plane * count
      for (let i = 0, at = plane; i < count; i++, at += elementSize) bytes[at] = planes[offset + i]!
    }
  }
  return bytes
}

// The element sizes of nearly all weights, a whole element at a time: up to twice as fast.

function joinPairs(planes: Uint8Array, bytes: Uint8Array, count: number): void {
  const elements = new Uint16Array(bytes.buffer)
  for (let i = 0; i < count; i++) elements[i] = planes[i]! | (planes[count + i]! << 8)
}

function joinQuads(planes: Uint8Array, bytes: Uint8Array, count: number): void {
  const elements = new Uint32Array(bytes.buffer)
  const [second, third, fourth] = [count, 2 * count, 3 * count]
  for (let i = 0; i < count; i++)
    elements[i] = planes[i]! | (planes[second + i]! << 8) | (planes[third + i]! << 16) | (planes[fourth + i]! << 24)
}

function elementsOf(bytes: Uint8Array, elementSize: number): number {
  if (bytes.length % elementSize === 0) return bytes.length / elementSize
  throw new Error(`${bytes.length} bytes are not whole elements of ${elementSize} bytes`)
}
