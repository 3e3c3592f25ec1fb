/**
 * Decoders of the codecs bitplane and rice as CODECS.md has them, with the whole frame as one array of bits: slow, and
 * with nothing in common with the ones they are compared to. undefined: refused.
 */
import { SIGN_BIT } from '../../compress/quantized-tensor.ts'

export function plainBitplane(bytes: Uint8Array, cells: readonly number[]): number[][] | undefined {
  const total = cells.reduce((sum, n) => sum + n, 0)
  const maskBytes = Math.ceil(total / 8)
  const mask = bitsOf(bytes.subarray(0, maskBytes))
  const count = mask.filter((bit) => bit === 1).length
  if (bytes.length !== maskBytes + Math.ceil(count / 8)) return undefined
  const signs = bitsOf(bytes.subarray(maskBytes))
  if (mask.slice(total).includes(1) || signs.slice(count).includes(1)) return undefined
  let first = 0
  let sign = 0
  return cells.map((n) => {
    const positions: number[] = []
    for (let i = 0; i < n; i++) if (mask[first + i] === 1) positions.push(i + (signs[sign++] === 1 ? SIGN_BIT : 0))
    first += n
    return positions
  })
}

export function plainRice(bytes: Uint8Array, cells: readonly number[]): number[][] | undefined {
  let rest = bytes
  const parts: number[][] = []
  for (const n of cells) {
    const part = plainRicePart(rest, n)
    if (part === undefined) return undefined
    parts.push(part.positions)
    rest = rest.subarray(part.length)
  }
  return rest.length === 0 ? parts : undefined
}

function plainRicePart(bytes: Uint8Array, cells: number): { positions: number[]; length: number } | undefined {
  const count = plainVarint(bytes)
  if (count === undefined || count.value > cells) return undefined
  if (count.value === 0) return { positions: [], length: count.length }
  const r = bytes[count.length]
  if (r === undefined || r > 18) return undefined
  const bits = bitsOf(bytes.subarray(count.length + 1))
  const positions: number[] = []
  let at = 0
  let index = -1
  for (let i = 0; i < count.value; i++) {
    const one = bits.indexOf(1, at)
    if (one < 0) return undefined
    const low = bits.slice(one + 1, one + 1 + r)
    const sign = bits[one + 1 + r]
    if (sign === undefined) return undefined
    index += (one - at) * 2 ** r + low.reduce((sum, bit, b) => sum + bit * 2 ** b, 0) + 1
    if (index >= cells) return undefined
    positions.push(index + (sign === 1 ? SIGN_BIT : 0))
    at = one + r + 2
  }
  const end = Math.ceil(at / 8)
  if (bits.slice(at, end * 8).includes(1)) return undefined
  return { positions, length: count.length + 1 + end }
}

function plainVarint(bytes: Uint8Array): { value: number; length: number } | undefined {
  const length = bytes.findIndex((byte) => byte < 0x80) + 1
  if (length === 0 || length > 5 || (length > 1 && bytes[length - 1] === 0)) return undefined
  const value = bytes.subarray(0, length).reduce((sum, byte, i) => sum + (byte & 0x7f) * 128 ** i, 0)
  return value < 2 ** 32 ? { value, length } : undefined
}

function bitsOf(bytes: Uint8Array): number[] {
  const bits: number[] = []
  for (const byte of bytes) for (let b = 0; b < 8; b++) bits.push((byte >> b) & 1)
  return bits
}
