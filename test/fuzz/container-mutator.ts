/**
 * Changes to containers, on every level: the file as bytes; the header, the table, the scales and the stored frames and
 * chunks with lengths, checksums and digest made to fit again, so that what is behind the checksums is reached.
 */
import { createHash } from 'node:crypto'
import * as zlib from 'node:zlib'
import { FRAME_RAW_BYTES } from '../../compress/bytes/zstd-frame.ts'
import { DIGEST_BYTES, DIGEST_OFFSET, HEADER_BYTES, MAGIC } from '../../compress/container-layout.ts'
import type { Pieces, Seed, Seeds } from './container-seeds.ts'
import type { Dice } from './dice.ts'
import { mutateBytes } from './mutate-bytes.ts'
import { mutateJson, mutateJsonText } from './mutate-json.ts'

/** A changed container. */
export function mutatedContainer(dice: Dice, { valid, invalid }: Seeds): Uint8Array {
  const seed = pickSeed(dice, valid)
  if (dice.chance(0.15)) return mutateFile(dice, dice.chance(0.5) ? seed.file : dice.pick(invalid), seed.file)
  const draft = { ...seed.pieces, stored: [...seed.pieces.stored] }
  const other = pickSeed(dice, valid).pieces
  return changedDraft(dice, draft, other)
}

function pickSeed(dice: Dice, seeds: readonly Seed[]): Seed {
  const seed = dice.pick(seeds)
  return seed.heavy && !dice.chance(0.03) ? pickSeed(dice, seeds) : seed
}

function mutateFile(dice: Dice, file: Uint8Array, other: Uint8Array): Uint8Array {
  if (dice.chance(0.3)) return mutateBytes(dice, file, other)
  // Header fields and the stored table and scales, behind a digest that fits.
  const head = headBytes(file)
  const changed = mutateBytes(dice, file.subarray(0, head), other.subarray(0, headBytes(other)))
  return withDigest(join([changed, file.subarray(head)]), dice.chance(0.7))
}

/** Header, table and scales, by what the header says. */
function headBytes(file: Uint8Array): number {
  if (file.length < HEADER_BYTES) return file.length
  const view = new DataView(file.buffer, file.byteOffset, HEADER_BYTES)
  return Math.min(file.length, HEADER_BYTES + view.getUint32(12, true) + view.getUint32(20, true))
}

interface Draft extends Pieces {
  table: Readonly<Record<string, unknown>>
  scales: Uint8Array
  stored: Uint8Array[]
}

function changedDraft(dice: Dice, draft: Draft, other: Pieces): Uint8Array {
  const steps = dice.pick([1, 1, 1, 2, 3])
  let lie: ((table: Record<string, unknown>) => unknown) | undefined
  let rewrite: ((text: string) => string) | undefined
  for (let i = 0; i < steps; i++) {
    const action = dice.below(100)
    if (action < 45 && draft.stored.length > 0) changeStored(dice, draft, other)
    else if (action < 55) draft.scales = mutateBytes(dice, draft.scales, other.scales)
    else if (action < 85) lie = (table) => mutateJson(dice, table)
    else if (action < 95) rewrite = (text) => mutateJsonText(dice, text)
    else draft.table = { ...draft.table, codec: dice.below(5) }
  }
  const table = { ...draft.table, ...columns(draft) }
  const text = JSON.stringify(lie ? lie(table) : table)
  return seal(encoder.encode(rewrite ? rewrite(text) : text), draft.scales, draft.stored)
}

const encoder = new TextEncoder()

function columns({ stored, frames }: Draft): Record<string, unknown> {
  const lengths = stored.map(({ length }) => length)
  return {
    frames: lengths.slice(0, frames),
    chunks: lengths.slice(frames),
    crcs: stored.map((bytes) => zlib.crc32(bytes)),
  }
}

/** One stored frame or chunk; its length and checksum will be what it has then. */
function changeStored(dice: Dice, draft: Draft, other: Pieces): void {
  const { stored } = draft
  const at = dice.below(stored.length)
  const piece = stored[at]!
  const action = dice.below(10)
  if (action === 0 && at + 1 < stored.length) {
    // The border between two of them elsewhere.
    const both = join([piece, stored[at + 1]!])
    const cut = dice.below(both.length + 1)
    stored[at] = both.slice(0, cut)
    stored[at + 1] = both.slice(cut)
  } else if (action === 1) stored[at] = stored[dice.below(stored.length)]!
  else if (action === 2) stored[at] = other.stored[dice.below(other.stored.length)] ?? piece
  else if (at >= draft.frames && dice.chance(0.6)) stored[at] = otherChunk(dice, piece)
  else stored[at] = mutateBytes(dice, piece, dice.pick(stored))
}

/** A chunk that zstd made, of other bytes or with other properties. */
function otherChunk(dice: Dice, piece: Uint8Array): Uint8Array {
  let raw: Uint8Array
  try {
    raw = zlib.zstdDecompressSync(piece, { maxOutputLength: 2 ** 16 })
  } catch {
    raw = piece
  }
  const changed = dice.chance(0.7) ? mutateBytes(dice, raw, piece) : raw
  const packed = zstd(dice, changed)
  return dice.chance(0.1) ? join([packed, packed]) : packed
}

function zstd(dice: Dice, raw: Uint8Array): Uint8Array {
  const { ZSTD_c_checksumFlag, ZSTD_c_contentSizeFlag, ZSTD_c_windowLog, ZSTD_c_compressionLevel } = zlib.constants
  const params = {
    [ZSTD_c_compressionLevel]: dice.pick([1, 3, 19]),
    [ZSTD_c_checksumFlag]: dice.chance(0.9) ? 1 : 0,
    [ZSTD_c_contentSizeFlag]: dice.chance(0.9) ? 1 : 0,
    [ZSTD_c_windowLog]: dice.pick([10, 17, 22, 23]),
  }
  return zlib.zstdCompressSync(raw, { params, ...(dice.chance(0.9) && { pledgedSrcSize: raw.length }) })
}

const SEAL = {
  params: { [zlib.constants.ZSTD_c_compressionLevel]: 1, [zlib.constants.ZSTD_c_checksumFlag]: 1 },
}

/** A zstd run as FORMAT.md has it. */
function pack(raw: Uint8Array): Uint8Array {
  const frames: Uint8Array[] = []
  for (let start = 0; start < raw.length; start += FRAME_RAW_BYTES) {
    const piece = raw.subarray(start, start + FRAME_RAW_BYTES)
    frames.push(zlib.zstdCompressSync(piece, { ...SEAL, pledgedSrcSize: piece.length }))
  }
  return frames.length === 1 ? frames[0]! : join(frames)
}

/** Header, table, scales and payload as a file whose lengths and digest fit. */
export function seal(rawTable: Uint8Array, rawScales: Uint8Array, stored: readonly Uint8Array[]): Uint8Array {
  const table = pack(rawTable)
  const scales = pack(rawScales)
  const header = new Uint8Array(HEADER_BYTES)
  const view = new DataView(header.buffer)
  header.set(MAGIC)
  view.setUint16(8, 1, true)
  view.setUint32(12, table.length, true)
  view.setUint32(16, rawTable.length, true)
  view.setUint32(20, scales.length, true)
  view.setUint32(24, rawScales.length, true)
  const payload = stored.reduce((sum, { length }) => sum + length, 0)
  view.setBigUint64(32, BigInt(payload), true)
  return withDigest(join([header, table, scales, ...stored]), false)
}

/** The digest made to fit; with `fitPayload` the payload's length too. */
export function withDigest(file: Uint8Array, fitPayload: boolean): Uint8Array {
  if (file.length < HEADER_BYTES) return file
  const copy = file.slice()
  const view = new DataView(copy.buffer)
  const head = HEADER_BYTES + view.getUint32(12, true) + view.getUint32(20, true)
  if (fitPayload && head <= copy.length) view.setBigUint64(32, BigInt(copy.length - head), true)
  const covered = createHash('sha256').update(copy.subarray(0, DIGEST_OFFSET)).update(copy.subarray(HEADER_BYTES, head))
  copy.set(covered.digest().subarray(0, DIGEST_BYTES), DIGEST_OFFSET)
  return copy
}

function join(pieces: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(pieces))
}
