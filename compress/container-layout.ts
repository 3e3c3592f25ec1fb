/**
 * The fixed parts of a container: magic, version, the 64-byte header, and every limit a reader puts on what a file
 * claims. Names and numbers are those of FORMAT.md; sections are named where a rule comes from.
 */
import { CompressError } from './errors.ts'

// FORMAT.md, "Limits". Each stops one way of making a reader spend far more than the file has bytes.
/** Table, decompressed. Stops a few stored bytes from becoming gigabytes of JSON. Enough for 250 G entries. */
export const MAX_TABLE_BYTES = 2 ** 24
/** Scales, decompressed. The same attack on the scales block; 32 M row or column scales fit. */
export const MAX_SCALES_BYTES = 2 ** 26
/** Tensors. Stops a column of a few zeros per tensor from making millions of objects. */
export const MAX_TENSORS = 2 ** 18
/** UTF-8 bytes of one name. Stops messages, headers and file lists of megabytes. */
export const MAX_NAME_BYTES = 1024
/** UTF-8 bytes of all names. Prefix coding repeats names for one byte each: stops that from filling memory. */
export const MAX_NAMES_BYTES = 2 ** 25
/** Dimensions of a shape. Stops endless shapes; no library goes beyond 64. */
export const MAX_DIMENSIONS = 64
/** Bytes of one lossless tensor, raw. zstd packs zeros 30000 to 1: stops a small file from claiming terabytes. */
export const MAX_LOSSLESS_TENSOR_BYTES = 2 ** 34
/** Layers of trits. Each multiplies the frames that the shapes take: stops a few bytes from multiplying the plan. */
export const MAX_LAYERS = 8
/** What a layer may be worth. Keeps worth times scale exact in f64. */
export const MAX_LAYER_WORTH = 2 ** 16
/** Nesting of the table's JSON. Stops brackets from exhausting the stack. */
export const MAX_TABLE_DEPTH = 32
/** Values in the table's JSON, an object counting as 16. Stops [0,0,...] and [{},{},...] from becoming gigabytes. */
export const MAX_TABLE_VALUES = 2 ** 22

/** "TERN", then the line ends and the end-of-file mark that a transfer in text mode would change (as PNG does). */
export const MAGIC = Uint8Array.of(0x54, 0x45, 0x52, 0x4e, 0x0d, 0x0a, 0x1a, 0x0a)
export const VERSION = 1
export const HEADER_BYTES = 64
/** Header bytes before the digest: what the digest covers of it. */
export const DIGEST_OFFSET = 40
export const DIGEST_BYTES = HEADER_BYTES - DIGEST_OFFSET

/** What the fixed header says beyond magic and version. All in bytes. */
export interface FixedHeader {
  readonly tableStored: number
  readonly tableRaw: number
  readonly scalesStored: number
  readonly scalesRaw: number
  readonly payload: number
}

/** The header's first 40 bytes, then the digest over them and the two stored blocks. FORMAT.md, "Fixed header". */
export async function writeFixedHeader(h: FixedHeader, table: Uint8Array, scales: Uint8Array): Promise<Uint8Array> {
  const bytes = new Uint8Array(HEADER_BYTES)
  const view = new DataView(bytes.buffer)
  bytes.set(MAGIC)
  view.setUint16(8, VERSION, true)
  view.setUint32(12, h.tableStored, true)
  view.setUint32(16, h.tableRaw, true)
  view.setUint32(20, h.scalesStored, true)
  view.setUint32(24, h.scalesRaw, true)
  view.setBigUint64(32, BigInt(h.payload), true)
  bytes.set(await headerDigest(bytes, table, scales), DIGEST_OFFSET)
  return bytes
}

/**
 * Checks everything that the header alone can tell, in this order: length, magic, version, flags, reserved field,
 * limits, and that the parts make up the file to its last byte.
 * @throws CompressError CONTAINER_INVALID, CONTAINER_VERSION_UNSUPPORTED
 */
export function readFixedHeader(bytes: Uint8Array, fileSize: number): FixedHeader {
  checkBeginning(bytes)
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES)
  const version = view.getUint16(8, true)
  if (version !== VERSION) throw unsupportedVersion(version)
  if (view.getUint16(10, true) !== 0) throw invalid(`flags ${view.getUint16(10, true)} are set; version 1 has none`)
  if (view.getUint32(28, true) !== 0) throw invalid('the reserved field at byte 28 is not zero')
  const header = {
    tableStored: view.getUint32(12, true),
    tableRaw: view.getUint32(16, true),
    scalesStored: view.getUint32(20, true),
    scalesRaw: view.getUint32(24, true),
    payload: Number(view.getBigUint64(32, true)),
  }
  checkLimit('table', header.tableRaw, MAX_TABLE_BYTES)
  checkLimit('scales block', header.scalesRaw, MAX_SCALES_BYTES)
  checkFileSize(header, fileSize)
  return header
}

function checkBeginning(bytes: Uint8Array): void {
  const present = Math.min(bytes.length, MAGIC.length)
  for (let i = 0; i < present; i++)
    if (bytes[i] !== MAGIC[i]) throw invalid('it does not begin with the magic bytes of a .tern file')
  if (bytes.length < HEADER_BYTES) throw invalid(`${bytes.length} bytes are less than the fixed header of 64`)
}

function unsupportedVersion(version: number): CompressError {
  return new CompressError(
    'CONTAINER_VERSION_UNSUPPORTED',
    `container version ${version} is not supported: this version of Tern reads version ${VERSION}`,
    { version, supported: [VERSION] },
  )
}

function checkLimit(what: string, bytes: number, most: number): void {
  if (bytes > most) throw invalid(`a ${what} of ${bytes} bytes; the most is ${most}`, { bytes, most })
}

function checkFileSize(h: FixedHeader, actual: number): void {
  const expected = HEADER_BYTES + h.tableStored + h.scalesStored + h.payload
  if (expected === actual) return
  const problem = expected > actual ? 'it is cut off' : 'something follows its end'
  throw invalid(`the header makes ${expected} bytes of it, there are ${actual}: ${problem}`, { expected, actual })
}

/** @throws CompressError CHECKSUM_MISMATCH where header, table or scales are not what was written. */
export async function checkHeaderDigest(header: Uint8Array, table: Uint8Array, scales: Uint8Array): Promise<void> {
  const expected = header.subarray(DIGEST_OFFSET, HEADER_BYTES)
  const actual = await headerDigest(header, table, scales)
  if (actual.every((byte, i) => byte === expected[i])) return
  throw new CompressError('CHECKSUM_MISMATCH', 'container: header, table or scales do not match their digest')
}

/** First 24 bytes of the SHA-256 over header bytes 0..40, stored table, stored scales. */
async function headerDigest(header: Uint8Array, table: Uint8Array, scales: Uint8Array): Promise<Uint8Array> {
  const covered = new Uint8Array(DIGEST_OFFSET + table.length + scales.length)
  covered.set(header.subarray(0, DIGEST_OFFSET))
  covered.set(table, DIGEST_OFFSET)
  covered.set(scales, DIGEST_OFFSET + table.length)
  return new Uint8Array(await crypto.subtle.digest('SHA-256', covered)).subarray(0, DIGEST_BYTES)
}

/** The error of every malformed container; `problem` continues the sentence "container: ...". */
export function invalid(problem: string, detail: Record<string, unknown> = {}): CompressError {
  return new CompressError('CONTAINER_INVALID', `container: ${problem}`, detail)
}
