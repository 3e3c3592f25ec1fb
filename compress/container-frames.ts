/**
 * Trit frames as they are stored: the side information of each tensor that starts in the frame, then the codec's bytes.
 * FORMAT.md, "Trit frames".
 */
import { concatenate } from './bytes/concatenate.ts'
import { FRAME_CELLS, type FrameSlice } from './codecs/frames.ts'
import type { EncodePart, FramePart, TritCodec } from './codecs/trit-codec.ts'
import { CompressError } from './errors.ts'
import { INDEX_MASK, SIGN_BIT } from './quantized-tensor.ts'

/** A trit tensor as frames see it. */
export interface TritShape {
  readonly name: string
  readonly rows: number
  readonly cols: number
}

/** The stored frame: the sides of the tensors that start in it, then `body`, which the codec made of `parts`. */
export function joinStoredFrame(parts: readonly EncodePart[], body: Uint8Array): Uint8Array {
  return concatenate([...parts.filter(({ start }) => start === 0).map(({ side }) => side), body])
}

export interface Sides {
  /** For each slice, in order: the side information where its tensor starts in this frame, else undefined. */
  readonly sides: readonly (Uint8Array | undefined)[]
  /** Offset of the codec's bytes. */
  readonly end: number
}

/** Splits the beginning of a stored frame. @throws CompressError CONTAINER_INVALID, naming the tensor */
export function readSides(
  codec: TritCodec,
  stored: Uint8Array,
  slices: readonly FrameSlice[],
  tensors: readonly TritShape[],
): Sides {
  let end = 0
  const sides = slices.map(({ tensor, start }) => {
    if (start > 0) return undefined
    const { name, rows, cols } = tensors[tensor]!
    const length = codec.sideLength(stored, end, rows, cols)
    if (length > stored.length - end) throw invalidFrame(name, 'its side information is cut off')
    // A copy: the side of a long tensor outlives the frame, and must not keep it in memory.
    const side = stored.slice(end, end + length)
    end += length
    return side
  })
  return { sides, end }
}

export interface DecodedFrame extends Pick<Sides, 'sides'> {
  /** For each slice, ascending positions relative to its start (SIGN_BIT for -1). */
  readonly positions: readonly Uint32Array[]
}

/** `sideOf` knows the side of the tensor that started in an earlier frame. @throws CompressError CONTAINER_INVALID */
export function decodeStoredFrame(
  codec: TritCodec,
  stored: Uint8Array,
  slices: readonly FrameSlice[],
  tensors: readonly TritShape[],
  sideOf: (tensor: number) => Uint8Array,
): DecodedFrame {
  const { sides, end } = readSides(codec, stored, slices, tensors)
  const parts: FramePart[] = slices.map(({ tensor, start, cells }, i) => {
    const { rows, cols } = tensors[tensor]!
    return { rows, cols, start, cells, side: sides[i] ?? sideOf(tensor) }
  })
  const decoded = codec.decodeFrame(stored.subarray(end), parts)
  const positions = slices.map(({ tensor, cells }, i) => ascending(decoded[i]!, cells, tensors[tensor]!.name))
  return { sides, positions }
}

const WORDS = FRAME_CELLS / 32
/** Scratch of `ascending`, always left all zero: presence and sign of each entry of a frame. */
const present = new Uint32Array(WORDS)
const negative = new Uint32Array(WORDS)

/**
 * A codec's positions, which it may return in any order, in ascending order: by way of a bit per entry, so the time is
 * linear and a position that comes twice is seen.
 */
function ascending(positions: Uint32Array, cells: number, what: string): Uint32Array {
  if (isAscending(positions, cells)) return positions
  try {
    markAll(positions, cells, what)
    return collect(positions.length, Math.ceil(cells / 32))
  } finally {
    present.fill(0)
    negative.fill(0)
  }
}

/** Most codecs return them so, and telling is far cheaper than sorting. */
function isAscending(positions: Uint32Array, cells: number): boolean {
  let next = 0
  for (let i = 0; i < positions.length; i++) {
    const index = positions[i]! & INDEX_MASK
    if (index < next) return false
    next = index + 1
  }
  return next <= cells
}

function markAll(positions: Uint32Array, cells: number, what: string): void {
  for (let i = 0; i < positions.length; i++) {
    const position = positions[i]!
    const index = position & INDEX_MASK
    if (index >= cells) throw invalidFrame(what, `position ${index} lies outside its ${cells} entries`)
    const bit = 1 << (index & 31)
    const word = index >>> 5
    if ((present[word]! & bit) !== 0) throw invalidFrame(what, `position ${index} comes twice`)
    present[word]! |= bit
    if (position >= SIGN_BIT) negative[word]! |= bit
  }
}

function collect(count: number, words: number): Uint32Array {
  const sorted = new Uint32Array(count)
  let n = 0
  for (let word = 0; word < words; word++) {
    for (let rest = present[word]!; rest !== 0; rest &= rest - 1) {
      const bit = 31 - Math.clz32(rest & -rest)
      sorted[n++] = word * 32 + bit + ((negative[word]! >>> bit) & 1) * SIGN_BIT
    }
  }
  return sorted
}

export function invalidFrame(tensor: string, problem: string): CompressError {
  return new CompressError('CONTAINER_INVALID', `container: trits of ${tensor}: ${problem}`, { tensor })
}

/** A stored frame in the words of an error message. */
export function frameName(frame: number, tensors: readonly TritShape[]): string {
  const more = tensors.length > 1 ? ` to ${tensors.at(-1)!.name}` : ''
  return `container: trit frame ${frame} (${tensors[0]!.name}${more})`
}

/** Says which frame a codec was talking about. */
export function inFrame<T>(names: string, decode: () => T): T {
  try {
    return decode()
  } catch (cause) {
    if (!(cause instanceof CompressError)) throw cause
    throw new CompressError(cause.code, `${names}: ${cause.message}`, { ...cause.detail }, { cause })
  }
}
