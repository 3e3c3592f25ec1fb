/**
 * The header of a safetensors file: 8 bytes with the length of a JSON text (u64, little-endian), then the text. It
 * names every tensor with its dtype, shape and byte range; the ranges together must cover the rest of the file.
 * The rules are those of the format's README ("Format" and "Notes") and of its reference reader. Files come from
 * strangers, so every rule is checked before a number is believed.
 */
import { type Dtype, dtypeBytes, isDtype, isSubByte } from './dtype.ts'
import { TensorError } from './errors.ts'
import {
  hasLoneSurrogate,
  JsonNumber,
  type JsonObject,
  type JsonValue,
  parseStrictJson,
  StrictJsonError,
} from './strict-json.ts'
import { elementCount, type TensorInfo } from './tensor.ts'

/** Stops a length field that asks for memory the file does not justify. The format's own bound. */
export const MAX_HEADER_BYTES = 100_000_000
/** Stops a header of millions of empty tensors, each costing an object. The largest public models stay below 2^18 in all shards together. */
export const MAX_TENSORS = 262_144
/** Stops shapes of a million ones. NumPy and PyTorch allow 64. */
export const MAX_DIMENSIONS = 64
/** Stops names that are really data, and error messages of megabytes. */
export const MAX_NAME_LENGTH = 2048
/**
 * A header nests three deep: header, tensor, shape. 36 values a tensor are its description (an object, a text, two
 * arrays and two offsets) with a shape of nine dimensions; more in all is 100 MB of something else, which would cost gigabytes as objects.
 */
const JSON_LIMITS = { depth: 3, values: 36 * MAX_TENSORS, members: MAX_TENSORS + 1 }

const METADATA_KEY = '__metadata__'
const TENSOR_FIELDS = ['dtype', 'shape', 'data_offsets'] as const

/** A tensor and where its bytes lie: absolute file offsets, end exclusive. */
export interface TensorSpan extends TensorInfo {
  readonly start: number
  readonly end: number
}

export interface SafetensorsHeader {
  /** In the order of their bytes in the file. */
  readonly tensors: TensorSpan[]
  readonly metadata: Record<string, string>
}

/**
 * The length of the JSON text, from the file's first 8 bytes. `fileSize`, where known, bounds it.
 * Throws SAFETENSORS_INVALID or SAFETENSORS_HEADER_TOO_LARGE.
 */
export function headerLength(first8: Uint8Array, fileSize?: number): number {
  if (first8.byteLength < 8) {
    throw invalid(`a safetensors file begins with 8 bytes of header length; there are ${first8.byteLength}`, {
      bytes: first8.byteLength,
    })
  }
  const length = new DataView(first8.buffer, first8.byteOffset, 8).getBigUint64(0, true)
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new TensorError(
      'SAFETENSORS_HEADER_TOO_LARGE',
      `the header claims ${length} bytes; at most ${MAX_HEADER_BYTES} are allowed (is this a safetensors file?)`,
      { headerBytes: String(length), limit: MAX_HEADER_BYTES },
    )
  }
  const bytes = Number(length)
  if (bytes < 2) throw invalid(`the header claims ${bytes} bytes; the shortest, {}, has 2`, { headerBytes: bytes })
  if (fileSize !== undefined && bytes + 8 > fileSize) {
    throw invalid(
      `the header claims ${bytes} bytes and the file has ${fileSize} in all: truncated, or no safetensors`,
      {
        headerBytes: bytes,
        fileBytes: fileSize,
      },
    )
  }
  return bytes
}

/**
 * Reads the JSON text of a header. With `fileSize` the tensors must cover the file to its last byte; without it only
 * what the header says by itself is checked. Throws SAFETENSORS_INVALID or DTYPE_UNSUPPORTED, naming the tensor.
 */
export function parseHeader(bytes: Uint8Array, fileSize?: number): SafetensorsHeader {
  const root = parseRoot(bytes)
  const dataStart = 8 + bytes.byteLength
  const metadata = parseMetadata(root.get(METADATA_KEY))
  const tensors: TensorSpan[] = []
  for (const [name, entry] of root) {
    if (name !== METADATA_KEY) tensors.push(parseTensor(name, entry, dataStart))
  }
  tensors.sort((a, b) => a.start - b.start || a.end - b.end)
  checkCoverage(tensors, dataStart, fileSize)
  return { tensors, metadata }
}

/** Bytes of all tensors together. Throws DTYPE_UNSUPPORTED for a sub-byte dtype. */
export function dataBytes(tensors: readonly TensorInfo[]): number {
  let total = 0
  for (const tensor of tensors) total += tensorBytes(tensor)
  return total
}

/** Bytes of one tensor. Throws DTYPE_UNSUPPORTED for a sub-byte dtype. */
export function tensorBytes(tensor: TensorInfo): number {
  return elementCount(tensor.shape) * dtypeBytes(tensor.dtype)
}

/**
 * The 8-byte length and the JSON text, padded with spaces so that the data begins at a multiple of 8. Tensors keep
 * the order given, in the text and in the data. Empty metadata is left out. Throws SAFETENSORS_INVALID for names the
 * format cannot hold, SAFETENSORS_HEADER_TOO_LARGE.
 */
export function serialiseHeader(
  tensors: readonly TensorInfo[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const members: string[] = []
  checkWritable(tensors, metadata)
  if (Object.keys(metadata).length > 0) members.push(`"${METADATA_KEY}":${JSON.stringify(metadata)}`)
  let offset = 0
  for (const tensor of tensors) {
    const end = offset + tensorBytes(tensor)
    const { name, dtype, shape } = tensor
    members.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [offset, end] })}`)
    offset = end
  }
  const text = new TextEncoder().encode(`{${members.join(',')}}`)
  const padded = Math.ceil(text.byteLength / 8) * 8
  if (padded > MAX_HEADER_BYTES) {
    throw new TensorError(
      'SAFETENSORS_HEADER_TOO_LARGE',
      `the header of ${tensors.length} tensors takes ${padded} bytes; at most ${MAX_HEADER_BYTES} are allowed`,
      { headerBytes: padded, limit: MAX_HEADER_BYTES },
    )
  }
  const header = new Uint8Array(8 + padded).fill(0x20)
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true)
  header.set(text, 8)
  return header
}

/** What is written must be readable again: the rules `parseHeader` applies to names, shapes and metadata. */
function checkWritable(tensors: readonly TensorInfo[], metadata: Readonly<Record<string, string>>): void {
  for (const [key, value] of Object.entries(metadata)) {
    if (hasLoneSurrogate(key + value))
      throw invalid(`${METADATA_KEY} ${quote(key)} holds half a surrogate pair`, { key })
  }
  if (tensors.length > MAX_TENSORS) {
    const count = tensors.length
    throw invalid(`${count} tensors in one file; at most ${MAX_TENSORS} are read`, {
      tensors: count,
      limit: MAX_TENSORS,
    })
  }
  const seen = new Set<string>()
  for (const { name, dtype, shape } of tensors) {
    checkName(name)
    if (name === METADATA_KEY) throw invalid(`no tensor may be called ${METADATA_KEY}`, { tensor: name })
    if (seen.has(name)) throw invalid(`tensor ${quote(name)} given twice`, { tensor: name })
    seen.add(name)
    checkDimensions(name, shape)
    byteCount(name, dtype, shape)
  }
}

function checkDimensions(name: string, shape: readonly unknown[]): void {
  if (shape.length <= MAX_DIMENSIONS) return
  throw invalid(`tensor ${quote(name)} has ${shape.length} dimensions; at most ${MAX_DIMENSIONS} are read`, {
    tensor: name,
    dimensions: shape.length,
  })
}

function parseRoot(bytes: Uint8Array): JsonObject {
  if (bytes[0] !== 0x7b) throw invalid(`the header must begin with '{' (0x7b), not ${hex(bytes[0])}`, {})
  let root: JsonValue
  try {
    root = parseStrictJson(decodeUtf8(bytes), JSON_LIMITS)
  } catch (error) {
    if (!(error instanceof StrictJsonError)) throw error
    throw invalid(`the header is no strict JSON: ${error.message}`, { at: error.at })
  }
  if (!(root instanceof Map)) throw invalid('the header must be a JSON object', {})
  return root
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw invalid('the header is not valid UTF-8', {})
  }
}

function parseMetadata(value: JsonValue | undefined): Record<string, string> {
  if (value === undefined) return {}
  if (!(value instanceof Map)) throw invalid(`${METADATA_KEY} must be an object of strings`, {})
  const entries: [string, string][] = []
  for (const [key, text] of value) {
    if (typeof text !== 'string') throw invalid(`${METADATA_KEY} ${quote(key)} must be a string`, { key })
    entries.push([key, text])
  }
  return Object.fromEntries(entries)
}

function parseTensor(name: string, entry: JsonValue, dataStart: number): TensorSpan {
  checkName(name)
  if (!(entry instanceof Map)) throw invalid(`tensor ${quote(name)} must be described by an object`, { tensor: name })
  for (const field of TENSOR_FIELDS) {
    if (!entry.has(field)) throw invalid(`tensor ${quote(name)} has no ${field}`, { tensor: name, field })
  }
  if (entry.size !== TENSOR_FIELDS.length) {
    throw invalid(`tensor ${quote(name)} has fields besides ${TENSOR_FIELDS.join(', ')}`, { tensor: name })
  }
  const dtype = parseDtype(name, entry.get('dtype'))
  const shape = parseShape(name, entry.get('shape'))
  const [begin, end] = parseOffsets(name, entry.get('data_offsets'))
  const bytes = byteCount(name, dtype, shape)
  if (end - begin !== bytes) {
    throw invalid(
      `tensor ${quote(name)}: ${dtype} of shape [${shape}] takes ${bytes} bytes, its offsets ${begin}..${end} hold ${end - begin}`,
      { tensor: name, dtype, shape, bytes, begin, end },
    )
  }
  return { name, dtype, shape, start: dataStart + begin, end: dataStart + end }
}

function checkName(name: string): void {
  if (name.length > MAX_NAME_LENGTH) {
    throw invalid(`tensor name ${quote(name)} has ${name.length} characters; at most ${MAX_NAME_LENGTH} are read`, {
      length: name.length,
    })
  }
  // NUL ends a name in digests and in C programs that read the file.
  if (name.includes('\0') || hasLoneSurrogate(name)) {
    throw invalid(`tensor name ${quote(name)} holds a NUL or half a surrogate pair`, { tensor: name })
  }
}

function parseDtype(name: string, value: JsonValue | undefined): Dtype {
  if (typeof value !== 'string') throw invalid(`tensor ${quote(name)}: dtype must be a string`, { tensor: name })
  if (!isDtype(value) || isSubByte(value)) {
    const why = isDtype(value) ? 'packs several values into a byte, which is not supported' : 'is unknown'
    throw new TensorError('DTYPE_UNSUPPORTED', `tensor ${quote(name)}: dtype ${quote(value)} ${why}`, {
      tensor: name,
      dtype: value.slice(0, 200),
    })
  }
  return value
}

function parseShape(name: string, value: JsonValue | undefined): number[] {
  if (!Array.isArray(value)) throw invalid(`tensor ${quote(name)}: shape must be an array`, { tensor: name })
  checkDimensions(name, value)
  return value.map((dimension, axis) => parseCount(dimension, name, `dimension ${axis}`))
}

function parseOffsets(name: string, value: JsonValue | undefined): [number, number] {
  if (!Array.isArray(value) || value.length !== 2) {
    throw invalid(`tensor ${quote(name)}: data_offsets must be an array of two`, { tensor: name })
  }
  const begin = parseCount(value[0], name, 'begin offset')
  const end = parseCount(value[1], name, 'end offset')
  if (end < begin) {
    throw invalid(`tensor ${quote(name)}: offsets ${begin}..${end} end before they begin`, { tensor: name, begin, end })
  }
  return [begin, end]
}

/** A non-negative integer below 2^53, written as one: 1.0 and 1e3 are refused, as the reference reader does. */
function parseCount(value: JsonValue | undefined, name: string, what: string): number {
  if (typeof value === 'number' && value >= 0) return value
  const shown = value instanceof JsonNumber ? value.token.slice(0, 40) : JSON.stringify(value)?.slice(0, 40)
  throw invalid(`tensor ${quote(name)}: ${what} is ${shown}; it must be an integer from 0 to 2^53 - 1`, {
    tensor: name,
    value: shown,
  })
}

function byteCount(name: string, dtype: Dtype, shape: readonly number[]): number {
  let bytes = dtypeBytes(dtype)
  for (const dimension of shape) {
    bytes *= dimension
    if (bytes > Number.MAX_SAFE_INTEGER) {
      throw invalid(`tensor ${quote(name)}: shape [${shape}] of ${dtype} takes more than 2^53 bytes`, {
        tensor: name,
        dtype,
        shape,
      })
    }
  }
  return bytes
}

/** Each tensor must begin where the one before ended, and the last end with the file: no hole can hide other data. */
function checkCoverage(tensors: readonly TensorSpan[], dataStart: number, fileSize: number | undefined): void {
  let expected = dataStart
  let previous = 'the header'
  for (const { name, start, end } of tensors) {
    if (start !== expected) {
      const what = start < expected ? 'overlaps' : 'leaves a hole after'
      throw invalid(
        `tensor ${quote(name)} ${what} ${previous}: it begins at offset ${start - dataStart}, expected ${expected - dataStart}`,
        { tensor: name, begin: start - dataStart, expected: expected - dataStart },
      )
    }
    expected = end
    previous = `tensor ${quote(name)}`
  }
  if (fileSize === undefined || fileSize === expected) return
  const what = fileSize < expected ? 'is truncated' : 'has bytes that belong to no tensor'
  throw invalid(`the file ${what}: its header describes ${expected} bytes, ${fileSize} are there`, {
    described: expected,
    fileBytes: fileSize,
    ...(fileSize < expected && { tensor: tensors.find(({ end }) => end > fileSize)?.name }),
  })
}

function quote(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}...` : text)
}

function hex(byte: number | undefined): string {
  return byte === undefined ? 'nothing' : `0x${byte.toString(16).padStart(2, '0')}`
}

function invalid(message: string, detail: Record<string, unknown>): TensorError {
  return new TensorError('SAFETENSORS_INVALID', message, detail)
}
