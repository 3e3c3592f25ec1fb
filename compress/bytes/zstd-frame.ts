/**
 * The outer structure of zstd frames (RFC 8878, section 3.1.1), read without decoding anything. What a file claims is
 * known and bounded before a decoder runs, so the same guards hold for every decoder, whatever it checks itself.
 */
import { CompressError } from '../errors.ts'

/** Raw bytes in a frame: all but the last frame of a run hold exactly this many. FORMAT.md, "zstd runs". */
export const FRAME_RAW_BYTES = 4 * 2 ** 20
/** Largest window a frame may ask a decoder to hold: 2^22 bytes. Stops a few bytes from claiming gigabytes of memory. */
export const MAX_WINDOW_BYTES = 2 ** 22
/** Block_Maximum_Size of the RFC: stops a block header from reaching over the frames that follow. */
const MAX_BLOCK_BYTES = 2 ** 17

const MAGIC = 0xfd2fb528
const CHECKSUM_BYTES = 4
const CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const

export interface ZstdFrame {
  /** Offsets of the frame in the run: [start, end). */
  readonly start: number
  readonly end: number
  /** Frame_Content_Size. */
  readonly rawLength: number
}

/**
 * The frames of a run that decodes to exactly `rawLength` bytes.
 * @throws CompressError CONTAINER_INVALID naming `what` where the run breaks a rule of FORMAT.md, "zstd runs".
 */
export function listFrames(run: Uint8Array, rawLength: number, what: string): ZstdFrame[] {
  const frames: ZstdFrame[] = []
  let left = rawLength
  for (let start = 0; start < run.length; ) {
    const frame = readFrame(run, start, what)
    const expected = Math.min(left, FRAME_RAW_BYTES)
    if (frame.rawLength !== expected || expected === 0)
      throw invalid(what, `a frame of ${frame.rawLength} raw bytes where ${expected} are due`)
    frames.push(frame)
    left -= frame.rawLength
    start = frame.end
  }
  if (left !== 0) throw invalid(what, `zstd frames of ${rawLength - left} raw bytes where ${rawLength} are due`)
  return frames
}

function readFrame(run: Uint8Array, start: number, what: string): ZstdFrame {
  const bytes = run.subarray(start)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 6 || view.getUint32(0, true) !== MAGIC) throw invalid(what, 'no zstd frame where one begins')
  const descriptor = bytes[4]!
  checkDescriptor(descriptor, what)
  const singleSegment = (descriptor & 0x20) !== 0
  const sizeBytes = contentSizeBytes(descriptor)
  const headerEnd = 5 + (singleSegment ? 0 : 1) + sizeBytes
  if (sizeBytes === 0) throw invalid(what, 'a zstd frame that does not state its content size')
  if (bytes.length < headerEnd) throw invalid(what, 'a zstd frame header that is cut off')
  if (!singleSegment) checkWindow(bytes[5]!, what)
  const rawLength = contentSize(view, headerEnd - sizeBytes, sizeBytes)
  if (rawLength > FRAME_RAW_BYTES)
    throw invalid(what, `a frame of ${rawLength} raw bytes, the most is ${FRAME_RAW_BYTES}`)
  return { start, end: start + blocksEnd(bytes, headerEnd, what) + CHECKSUM_BYTES, rawLength }
}

/** Frame_Header_Descriptor: the checksum is required; dictionaries, the unused and the reserved bit are refused. */
function checkDescriptor(descriptor: number, what: string): void {
  if ((descriptor & 0x18) !== 0) throw invalid(what, 'a zstd frame with a reserved bit set')
  if ((descriptor & 0x04) === 0) throw invalid(what, 'a zstd frame without a checksum')
  if ((descriptor & 0x03) !== 0) throw invalid(what, 'a zstd frame that needs a dictionary')
}

function contentSizeBytes(descriptor: number): number {
  const flag = descriptor >>> 6
  return flag === 0 && (descriptor & 0x20) !== 0 ? 1 : CONTENT_SIZE_BYTES[flag]!
}

function contentSize(view: DataView, at: number, bytes: number): number {
  if (bytes === 1) return view.getUint8(at)
  if (bytes === 2) return view.getUint16(at, true) + 256
  if (bytes === 4) return view.getUint32(at, true)
  return Number(view.getBigUint64(at, true))
}

function checkWindow(descriptor: number, what: string): void {
  const base = 2 ** (10 + (descriptor >>> 3))
  const window = base + (base / 8) * (descriptor & 7)
  if (window > MAX_WINDOW_BYTES)
    throw invalid(what, `a zstd window of ${window} bytes, the most is ${MAX_WINDOW_BYTES}`)
}

/** Offset after the last block; the checksum behind it is there too. */
function blocksEnd(bytes: Uint8Array, start: number, what: string): number {
  let at = start
  for (;;) {
    if (at + 3 > bytes.length) throw invalid(what, 'a zstd frame that is cut off')
    const header = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16)
    const type = (header >>> 1) & 3
    const size = header >>> 3
    if (type === 3 || size > MAX_BLOCK_BYTES) throw invalid(what, 'a zstd block with an invalid header')
    at += 3 + (type === 1 ? 1 : size)
    if (at + CHECKSUM_BYTES > bytes.length) throw invalid(what, 'a zstd frame that is cut off')
    if ((header & 1) !== 0) return at
  }
}

function invalid(what: string, problem: string): CompressError {
  return new CompressError('CONTAINER_INVALID', `${what}: ${problem}`, { what })
}
