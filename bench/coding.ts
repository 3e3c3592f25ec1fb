/** One bf16 tensor of normal values through the whole codec in memory: what speed.ts measures with one and two threads. */
import { checkedCodec } from '../compress/checked-codec.ts'
import { planFrames } from '../compress/codecs/frames.ts'
import { sgr } from '../compress/codecs/sgr.ts'
import type { EncodePart, FramePart } from '../compress/codecs/trit-codec.ts'
import type { TritTarget, Values } from '../compress/codecs/trit-values.ts'
import { cutPositions } from '../compress/container-writer.ts'
import { kernels } from '../compress/kernels/default.ts'
import type { TauPiece } from '../compress/kernels/tau-kernels.ts'
import { selectPieces, type TauSource } from '../compress/select-pieces.ts'

const PIECE = 2 ** 20
const SAMPLE_PLACES = 128
const SAMPLE_ENTRIES = 512

/** The tensor as the compressor sees a file's. */
export function piecesOf(codes: Uint16Array): TauSource {
  const piece = (first: number, end: number): TauPiece => ({
    first,
    values: new Uint8Array(codes.buffer, codes.byteOffset + 2 * first, 2 * (end - first)),
    dtype: 'BF16',
    origin: 0,
  })
  return {
    entries: codes.length,
    async *all() {
      for (let first = 0; first < codes.length; first += PIECE)
        yield piece(first, Math.min(codes.length, first + PIECE))
    },
    async *sample() {
      for (let i = 0; i < SAMPLE_PLACES; i++) {
        const first = Math.floor(((codes.length - SAMPLE_ENTRIES) * i) / (SAMPLE_PLACES - 1) / 4) * 4
        yield piece(first, first + SAMPLE_ENTRIES)
      }
    },
  }
}

export interface CodedFrame {
  readonly part: FramePart
  readonly bytes: Uint8Array
}

export async function select(codes: Uint16Array, density: number): Promise<Uint32Array> {
  return (await selectPieces('w', piecesOf(codes), { scope: 'tensor', density }, 0)).positions
}

/** Exact threshold, trits, classes, frames, each decoded again and compared: the compressor's work on one tensor. */
export async function compressTensor(codes: Uint16Array, cols: number, density: number): Promise<CodedFrame[]> {
  const positions = await select(codes, density)
  const rows = codes.length / cols
  const side = sgr.chooseSide({ rows, cols, ...kernels().marginals(positions, rows, cols) })
  const codec = checkedCodec(sgr)
  return planFrames([{ rows, cols }]).map((slices) => {
    const { start, cells } = slices[0] as { start: number; cells: number }
    const part: EncodePart = { rows, cols, start, cells, side, positions: cutPositions(positions, start, cells) }
    return { part: { rows, cols, start, cells, side }, bytes: codec.encodeFrame([part]) }
  })
}

/** Straight to bf16 weights. */
export function decodeToBf16(frames: readonly CodedFrame[], out: Uint16Array): void {
  decode(frames, out, (part) => ({
    operation: 'write',
    dtype: 'BF16',
    axis: 'tensor',
    pairs: Uint32Array.of(0x3c00, 0xbc00),
    zero: 0,
    out: part as Uint16Array,
  }))
}

export function addTo(frames: readonly CodedFrame[], base: Values): void {
  const dtype = base instanceof Float32Array ? 'F32' : 'BF16'
  const pairs = new Uint32Array(Float32Array.of(1e-3, -1e-3).buffer)
  decode(frames, base, (part) => ({ operation: 'add', dtype, axis: 'tensor', pairs, from: part, out: part }))
}

function decode(frames: readonly CodedFrame[], out: Values, targetOf: (part: Values) => TritTarget): void {
  for (const { part, bytes } of frames) {
    const done = sgr.decodeInto?.(bytes, part, targetOf(out.subarray(part.start, part.start + part.cells)))
    if (done !== true) throw new Error('a frame without a direct way')
  }
}
