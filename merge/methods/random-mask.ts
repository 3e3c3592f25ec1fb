/**
 * Random numbers that belong to a place, not to a moment: entry i of a tensor gets the same number whatever was drawn
 * before it, so a merge does not depend on the order of tensors, inputs or shards.
 *
 * Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 */
import { createHash } from 'node:crypto'

export interface MaskKey {
  readonly low: number
  readonly high: number
}

const PARITY = 0x1bd11bda
/** Five groups of four rounds make the 20; the groups take turns with two rows of rotations. */
const GROUPS = 5

/** The first 8 bytes of sha256 over `seed \0 identity \0 tensor`, as two little-endian u32. */
export function maskKey(seed: number, identity: string, tensor: string): MaskKey {
  const hash = createHash('sha256').update(`${seed}\0${identity}\0${tensor}`).digest()
  return { low: hash.readUInt32LE(0), high: hash.readUInt32LE(4) }
}

/** Fills `out` with the two words of one counter value. */
export function threefry2x32(key: MaskKey, low: number, high: number, out: Uint32Array): void {
  let now = key.low | 0
  let next = key.high | 0
  let last = now ^ next ^ PARITY
  let x = (low + now) | 0
  let y = (high + next) | 0
  for (let group = 0; group < GROUPS; group++) {
    const odd = (group & 1) === 1
    x = (x + y) | 0
    y = rotate(y, odd ? 17 : 13) ^ x
    x = (x + y) | 0
    y = rotate(y, odd ? 29 : 15) ^ x
    x = (x + y) | 0
    y = rotate(y, odd ? 16 : 26) ^ x
    x = (x + y) | 0
    y = rotate(y, odd ? 24 : 6) ^ x
    x = (x + next) | 0
    y = (y + last + group + 1) | 0
    const first = now
    now = next
    next = last
    last = first
  }
  out[0] = x
  out[1] = y
}

function rotate(word: number, turn: number): number {
  return (word << turn) | (word >>> (32 - turn))
}

/**
 * Sets each entry to zero with probability 1 - density, independently. Entry i uses word i % 2 of counter i / 2 and
 * stays where that word is below density * 2^32.
 */
export function dropAtRandom(values: Float32Array, density: number, key: MaskKey): void {
  const bound = density * 2 ** 32
  const words = new Uint32Array(2)
  for (let i = 0; i < values.length; i += 2) {
    threefry2x32(key, i >>> 1, 0, words)
    if (words[0]! >= bound) values[i] = 0
    if (words[1]! >= bound && i + 1 < values.length) values[i + 1] = 0
  }
}
