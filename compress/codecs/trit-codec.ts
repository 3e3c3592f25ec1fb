/**
 * The seam between quantised tensors and bytes. A codec is pure, synchronous and lossless:
 * decodeFrame(encodeFrame(parts)) returns the same positions (as a set), bit for bit, on every machine.
 *
 * Tensors are cut into frames of at most FRAME_CELLS entries (see frames.ts): whole rows of one tensor, or as many
 * small tensors as fit. A frame decodes on its own, given the side information of its tensors.
 */
import type { TritTarget } from './trit-values.ts'

export interface TritCodec {
  /** Stored in the container. Never reused for another bitstream. */
  readonly id: number
  readonly name: 'sgr' | 'rice' | 'bitplane'
  /**
   * What the encoder decides once per tensor (SGR: row and column classes), from marginal counts alone.
   * Written once, at the start of the frame in which the tensor starts. May be empty.
   */
  chooseSide(counts: MarginalCounts): Uint8Array
  /** Bytes that the side information of a rows x cols tensor takes at `offset` of `bytes`. Throws CONTAINER_INVALID. */
  sideLength(bytes: Uint8Array, offset: number, rows: number, cols: number): number
  encodeFrame(parts: readonly EncodePart[]): Uint8Array
  /**
   * For each part, its non-zeros as (index within the part | SIGN_BIT for -1), ascending by index.
   * Throws CONTAINER_INVALID on anything an encoder could not have written; never reads past `bytes`, never allocates
   * more than the part's cells allow.
   */
  decodeFrame(bytes: Uint8Array, parts: readonly FramePart[]): Uint32Array[]
  /**
   * Decodes a frame of one part straight to numbers: the same as applyTrits (trit-values.ts) of what decodeFrame
   * gives, only faster. False where this frame has no such way, and nothing was done. Throws as decodeFrame does, with
   * `target` unchanged.
   */
  decodeInto?(bytes: Uint8Array, part: FramePart, target: TritTarget): boolean
}

export interface MarginalCounts {
  readonly rows: number
  readonly cols: number
  /** Non-zeros of each row, of each column. */
  readonly rowCounts: Uint32Array
  readonly colCounts: Uint32Array
}

/** The entries [start, start + cells) of one tensor that lie in one frame. */
export interface FramePart {
  /** Shape of the whole tensor. */
  readonly rows: number
  readonly cols: number
  readonly start: number
  readonly cells: number
  /** What chooseSide gave for the tensor. Must not change afterwards: codecs remember what they read from it. */
  readonly side: Uint8Array
}

export interface EncodePart extends FramePart {
  /** Ascending indices relative to `start`, SIGN_BIT for -1. */
  readonly positions: Uint32Array
}
