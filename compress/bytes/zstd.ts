/**
 * zstd runs: raw bytes cut at every 4 MiB, each piece an independent zstd frame that states its size and carries a
 * checksum, windows of at most 2^22 bytes. Small enough for every decoder there is, and decodable one frame at a time.
 * FORMAT.md, "zstd runs".
 */

import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { CompressError } from '../errors.ts'
import { concatenate } from './concatenate.ts'
import { FRAME_RAW_BYTES, listFrames } from './zstd-frame.ts'
import { decodeFramePortable } from './zstd-portable.ts'

const WINDOW_LOG = 22
/** Up to this the way to another thread and back takes longer than the decoding. */
const INLINE_RAW_BYTES = 2 ** 16

/** Decodes one checked frame to exactly `rawLength` bytes, or throws whatever its library throws. */
export type FrameDecoder = (frame: Uint8Array, rawLength: number) => Promise<Uint8Array>

/** Levels 1 to 22 as the zstd library numbers them. No raw bytes give no frame. */
export async function compress(raw: Uint8Array, level: number): Promise<Uint8Array> {
  const frames: Promise<Uint8Array>[] = []
  for (let start = 0; start < raw.length; start += FRAME_RAW_BYTES)
    frames.push(compressFrame(raw.subarray(start, start + FRAME_RAW_BYTES), level))
  return concatenate(await Promise.all(frames))
}

/**
 * The raw bytes of a run; the caller has bounded `rawLength`.
 * @throws CompressError CONTAINER_INVALID naming `what` for anything but a run of exactly `rawLength` raw bytes.
 */
export async function decompress(
  run: Uint8Array,
  rawLength: number,
  what: string,
  decode: FrameDecoder = defaultDecoder(),
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  for (const frame of listFrames(run, rawLength, what)) {
    const piece = await decodeOrRefuse(decode, run.subarray(frame.start, frame.end), frame.rawLength, what)
    if (piece.length !== frame.rawLength)
      throw refused(what, new Error(`${piece.length} bytes came out where ${frame.rawLength} were promised`))
    pieces.push(piece)
  }
  return concatenate(pieces)
}

async function decodeOrRefuse(decode: FrameDecoder, frame: Uint8Array, rawLength: number, what: string) {
  try {
    return await decode(frame, rawLength)
  } catch (cause) {
    throw refused(what, cause)
  }
}

/** node:zlib where it has zstd (Node 22.15 and later), else the WebAssembly decoder. */
function defaultDecoder(): FrameDecoder {
  return typeof zlib.zstdDecompress === 'function' ? decodeFrameNative : decodeFramePortable
}

export async function decodeFrameNative(frame: Uint8Array, rawLength: number): Promise<Uint8Array> {
  const { ZSTD_d_windowLogMax } = zlib.constants
  const options = {
    // One buffer takes the whole frame and one byte too many, so nothing is copied and a lie is noticed.
    chunkSize: Math.max(64, rawLength + 1),
    maxOutputLength: Math.max(1, rawLength),
    params: { [ZSTD_d_windowLogMax]: WINDOW_LOG },
  }
  if (rawLength <= INLINE_RAW_BYTES) return plain(zlib.zstdDecompressSync(frame, options))
  return plain(await promisify(zlib.zstdDecompress)(frame, options))
}

async function compressFrame(raw: Uint8Array, level: number): Promise<Uint8Array> {
  const { ZSTD_c_compressionLevel, ZSTD_c_checksumFlag, ZSTD_c_contentSizeFlag, ZSTD_c_windowLog } = zlib.constants
  const params = {
    [ZSTD_c_compressionLevel]: level,
    [ZSTD_c_checksumFlag]: 1,
    [ZSTD_c_contentSizeFlag]: 1,
    [ZSTD_c_windowLog]: WINDOW_LOG,
  }
  return plain(await promisify(zlib.zstdCompress)(raw, { params, pledgedSrcSize: raw.length }))
}

/** A Buffer's memory as an ordinary Uint8Array, whose `slice` copies. */
function plain(buffer: Uint8Array): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)
}

function refused(what: string, cause: unknown): CompressError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new CompressError('CONTAINER_INVALID', `${what}: zstd refuses it: ${reason}`, { what }, { cause })
}
