/**
 * The lossless byte codec: a tensor's bytes in chunks of 4 MiB, each as byte planes through zstd, or as they are where
 * that is smaller. With the base's tensor at hand, chunks are XORed with it first where that saves bytes: what a
 * fine-tune left alone becomes zeros. FORMAT.md, "Lossless chunks".
 */
import { joinPlanes, splitPlanes } from './bytes/byte-planes.ts'
import { crc32 } from './bytes/crc32.ts'
import { compress, decompress } from './bytes/zstd.ts'
import { FRAME_RAW_BYTES } from './bytes/zstd-frame.ts'

/** Raw bytes of every chunk but a tensor's last. A multiple of every element size. */
export const CHUNK_BYTES = FRAME_RAW_BYTES
/** Planes of exponents are all that compresses, and a higher level finds next to nothing more in them. */
const LEVEL = 3
/** A difference this small is taken without trying the tensor itself. */
const PLAINLY_SMALLER = 1 / 8

export interface PackedTensor {
  readonly chunks: readonly Uint8Array[]
  /** CRC-32 of the whole reference where the chunks need it, else null. */
  readonly referenceCrc: number | null
}

/** `reference`: the base tensor's bytes, of the same length. `elementSize` divides that length. */
export async function packLossless(
  bytes: Uint8Array,
  elementSize: number,
  reference?: Uint8Array,
  signal?: AbortSignal,
): Promise<PackedTensor> {
  if (reference === undefined)
    return { chunks: await packChunks(bytes, elementSize, undefined, signal), referenceCrc: null }
  const difference = await packChunks(bytes, elementSize, reference, signal)
  const small = size(difference) <= bytes.length * PLAINLY_SMALLER
  const plain = small ? undefined : await packChunks(bytes, elementSize, undefined, signal)
  if (plain !== undefined && size(plain) <= size(difference)) return { chunks: plain, referenceCrc: null }
  return { chunks: difference, referenceCrc: crc32(reference) }
}

function size(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((sum, chunk) => sum + chunk.length, 0)
}

async function packChunks(
  bytes: Uint8Array,
  elementSize: number,
  reference: Uint8Array | undefined,
  signal: AbortSignal | undefined,
): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = []
  for (let start = 0; start < bytes.length; start += CHUNK_BYTES) {
    signal?.throwIfAborted()
    const raw = bytes.subarray(start, start + CHUNK_BYTES)
    const changed = reference === undefined ? raw : xor(raw, reference.subarray(start, start + CHUNK_BYTES))
    const packed = await compress(splitPlanes(changed, elementSize), LEVEL)
    // Equal length means "as it is": that is how a reader tells the two apart.
    chunks.push(packed.length < raw.length ? packed : raw.slice())
  }
  return chunks
}

/** Raw bytes of each chunk of a tensor of `bytes` bytes; none for an empty tensor. */
export function chunkLength(bytes: number, chunk: number): number {
  return Math.min(CHUNK_BYTES, bytes - chunk * CHUNK_BYTES)
}

export function chunkCount(bytes: number): number {
  return Math.ceil(bytes / CHUNK_BYTES)
}

/**
 * The raw bytes of one chunk. `reference`: the same range of the base's tensor, for a tensor that needs it.
 * @throws CompressError CONTAINER_INVALID naming `what`
 */
export async function unpackChunk(
  stored: Uint8Array,
  rawLength: number,
  elementSize: number,
  what: string,
  reference?: Uint8Array,
): Promise<Uint8Array> {
  if (stored.length === rawLength) return stored
  const changed = joinPlanes(await decompress(stored, rawLength, what), elementSize)
  return reference === undefined ? changed : xor(changed, reference)
}

function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length)
  for (let i = 0; i < a.length; i++) out[i] = a[i]! ^ b[i]!
  return out
}
