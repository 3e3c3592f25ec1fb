/**
 * The table of contents: what a container holds, as JSON in column form. Offsets are derived from sizes, tensor sizes
 * from shapes, so a reader cannot be told two things about one byte. FORMAT.md, "Table".
 */
import { type Dtype, dtypeBytes, isDtype, isFloating, isSubByte } from '../tensors/dtype.ts'
import {
  type JsonObject,
  type JsonValue,
  parseStrictJson,
  StrictJsonError,
  toPlainJson,
} from '../tensors/strict-json.ts'
import type { TensorInfo } from '../tensors/tensor.ts'
import {
  invalid,
  MAX_DIMENSIONS,
  MAX_LAYER_WORTH,
  MAX_LAYERS,
  MAX_NAME_BYTES,
  MAX_TABLE_BYTES,
  MAX_TABLE_DEPTH,
  MAX_TABLE_VALUES,
  MAX_TENSORS,
} from './container-layout.ts'
import {
  type BaseNames,
  decodeBaseNames,
  decodeNames,
  encodeBaseNames,
  encodeNames,
  type StoredBaseNames,
} from './container-names.ts'
import type { CompressError } from './errors.ts'

/** What a container says about itself as a whole. */
export interface ContainerHeader {
  readonly kind: 'lora' | 'ia3' | 'full'
  /** What trits are added to: nothing, one, or the base's weights. */
  readonly origin: 'zero' | 'one' | 'base'
  readonly base: { readonly digest: string; readonly repo?: string; readonly revision?: string } | null
  /** The options of the lossy step, for the record; decoding needs none of them. */
  readonly options: Readonly<Record<string, unknown>>
  /** The safetensors `__metadata__` of the expert. */
  readonly metadata: Readonly<Record<string, string>>
  readonly adapterConfig?: Readonly<Record<string, unknown>>
  /** Expert name -> base name where they differ. A reader gives 'same' where a writer was given nothing. */
  readonly baseNames?: BaseNames
}

export type Storage = 'lossless' | 'tensor' | 'row' | 'column'
/** By code in the table. All but the first are trits, named by the axis of their scales. */
const STORAGES: readonly Storage[] = ['lossless', 'tensor', 'row', 'column']
const KINDS = ['lora', 'ia3', 'full'] as const
const ORIGINS = ['zero', 'one', 'base'] as const

export interface TableTensor extends TensorInfo {
  readonly storage: Storage
  /** Trits: 0, or n when its scales are those of the n-th trit tensor before it. */
  readonly sameScales: number
  /** Lossless: CRC-32 of the base tensor's bytes that its own were XORed with, or null. */
  readonly referenceCrc: number | null
}

export interface ContainerTable {
  readonly header: ContainerHeader
  readonly codec: number
  readonly tensors: readonly TableTensor[]
  /** What a trit of each layer is worth, in scales; the layers of every trit tensor. */
  readonly layers: readonly number[]
  /** Stored bytes of each trit frame (layer by layer) and of each lossless chunk. */
  readonly frames: readonly number[]
  readonly chunks: readonly number[]
  /** CRC-32 of each frame, then of each chunk. */
  readonly crcs: readonly number[]
}

/** As JSON.stringify writes it: absent where undefined. */
interface TableJson {
  kind: string
  origin: string
  base?: unknown
  options: unknown
  metadata?: unknown
  adapter_config?: unknown
  base_names?: StoredBaseNames | undefined
  codec: number
  shared: readonly number[]
  names: readonly string[]
  types: readonly (readonly [Dtype, readonly number[], number, number])[]
  type: readonly number[]
  layers?: readonly number[] | undefined
  references?: readonly (number | null)[] | undefined
  frames?: readonly number[] | undefined
  chunks?: readonly number[] | undefined
  crcs?: readonly number[] | undefined
}

const KEYS: Readonly<Record<keyof TableJson, true>> = {
  kind: true,
  origin: true,
  base: true,
  options: true,
  metadata: true,
  adapter_config: true,
  base_names: true,
  codec: true,
  shared: true,
  names: true,
  types: true,
  type: true,
  layers: true,
  references: true,
  frames: true,
  chunks: true,
  crcs: true,
}

/** The table as UTF-8 JSON. @throws CompressError CONTAINER_INVALID where a limit is passed. */
export function encodeTable(table: ContainerTable): Uint8Array {
  const { header, tensors } = table
  if (tensors.length > MAX_TENSORS) throw tooMany(tensors.length)
  const names = tensors.map(({ name }) => name)
  const { shared, rest } = encodeNames(names)
  const references = tensors.filter(({ storage }) => storage === 'lossless').map(({ referenceCrc }) => referenceCrc)
  const json: TableJson = {
    kind: header.kind,
    origin: header.origin,
    base: header.base ?? undefined,
    options: header.options,
    metadata: orAbsent(header.metadata),
    adapter_config: header.adapterConfig,
    base_names: encodeBaseNames(names, header.baseNames ?? 'same'),
    codec: table.codec,
    shared,
    names: rest,
    ...typeColumns(tensors),
    layers: table.layers.length === 1 && table.layers[0] === 1 ? undefined : table.layers,
    references: references.some((crc) => crc !== null) ? references : undefined,
    frames: orAbsent(table.frames),
    chunks: orAbsent(table.chunks),
    crcs: orAbsent(table.crcs),
  }
  const bytes = new TextEncoder().encode(JSON.stringify(json))
  if (bytes.length > MAX_TABLE_BYTES)
    throw invalid(`the table would have ${bytes.length} bytes; the most is ${MAX_TABLE_BYTES}`)
  // What a reader would refuse (text without a UTF-8 form, options nested too deep) must never be written.
  decodeTable(bytes)
  return bytes
}

function orAbsent<T extends object>(value: T): T | undefined {
  return Object.keys(value).length > 0 ? value : undefined
}

/** The distinct (dtype, shape, storage, same scales), and which of them each tensor has. */
function typeColumns(tensors: readonly TableTensor[]): Pick<TableJson, 'types' | 'type'> {
  const types = new Map<string, { index: number; value: TableJson['types'][number] }>()
  const type = tensors.map(({ dtype, shape, storage, sameScales }) => {
    checkShape(shape)
    const value = [dtype, shape, STORAGES.indexOf(storage), sameScales] as const
    const key = JSON.stringify(value)
    const known = types.get(key) ?? { index: types.size, value }
    types.set(key, known)
    return known.index
  })
  return { types: [...types.values()].map(({ value }) => value), type }
}

/**
 * Reads and checks a table by itself: what depends on the codec, the frame plan or the file is the reader's.
 * @throws CompressError CONTAINER_INVALID naming the key or the tensor
 */
export function decodeTable(bytes: Uint8Array): ContainerTable {
  const root = parseRoot(bytes)
  for (const key of root.keys())
    if (!Object.hasOwn(KEYS, key)) throw invalid(`the table has an unknown key, ${key.slice(0, 80)}`)
  const shared = integers(root, 'shared', MAX_NAME_BYTES)
  const rest = strings(root, 'names')
  if (rest.length > MAX_TENSORS) throw tooMany(rest.length)
  sameLength('names', rest.length, 'shared', shared.length)
  const names = decodeNames({ shared, rest })
  return {
    header: decodeHeader(root, names),
    codec: integer(root.get('codec'), 'codec', 255),
    tensors: decodeTensors(root, names),
    layers: decodeLayers(root),
    frames: integers(root, 'frames', Number.MAX_SAFE_INTEGER),
    chunks: integers(root, 'chunks', Number.MAX_SAFE_INTEGER),
    crcs: integers(root, 'crcs', 2 ** 32 - 1),
  }
}

function parseRoot(bytes: Uint8Array): JsonObject {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    const root = parseStrictJson(text, { depth: MAX_TABLE_DEPTH, values: MAX_TABLE_VALUES, members: MAX_TENSORS })
    if (root instanceof Map) return root
  } catch (cause) {
    if (!(cause instanceof StrictJsonError) && !(cause instanceof TypeError)) throw cause
    throw invalid(`the table is no JSON of the kind allowed: ${cause.message}`)
  }
  throw invalid('the table is not a JSON object')
}

function decodeHeader(root: JsonObject, names: readonly string[]): ContainerHeader {
  const adapterConfig = root.get('adapter_config')
  return {
    kind: oneOf(KINDS, root, 'kind'),
    origin: oneOf(ORIGINS, root, 'origin'),
    base: decodeBase(root.get('base')),
    options: plainObject(root.get('options'), 'options'),
    metadata: stringMap(root.get('metadata'), 'metadata'),
    ...(adapterConfig === undefined ? {} : { adapterConfig: plainObject(adapterConfig, 'adapter_config') }),
    baseNames: decodeBaseNames(names, storedBaseNames(root.get('base_names'))),
  }
}

function decodeBase(value: JsonValue | undefined): ContainerHeader['base'] {
  if (value === undefined) return null
  const { digest, repo, revision, ...others } = stringMap(value, 'base')
  if (digest === undefined || Object.keys(others).length > 0)
    throw invalid('base holds digest and, where known, repo and revision')
  return { digest, ...(repo === undefined ? {} : { repo }), ...(revision === undefined ? {} : { revision }) }
}

function storedBaseNames(value: JsonValue | undefined): StoredBaseNames | undefined {
  if (value === undefined) return undefined
  if (!(value instanceof Map)) throw invalid('base_names is not an object')
  if (value.size === 1 && value.has('map')) return { map: stringMap(value.get('map'), 'base_names.map') }
  const { strip, add, ...others } = stringMap(value, 'base_names')
  if (strip === undefined || add === undefined || Object.keys(others).length > 0)
    throw invalid('base_names holds either map or strip and add')
  return { strip, add }
}

function decodeTensors(root: JsonObject, names: readonly string[]): TableTensor[] {
  const types = array(root, 'types').map(decodeType)
  const column = integers(root, 'type', types.length - 1)
  sameLength('type', column.length, 'names', names.length)
  const tensors = names.map((name, i) => ({ name, ...types[column[i]!]!, referenceCrc: null as number | null }))
  const references = array(root, 'references')
  const lossless = tensors.filter(({ storage }) => storage === 'lossless')
  if (references.length > 0) sameLength('references', references.length, 'lossless tensors', lossless.length)
  references.forEach((crc, i) => {
    if (crc !== null) lossless[i]!.referenceCrc = integer(crc, 'references', 2 ** 32 - 1)
  })
  return tensors
}

/** Absent: plain trits. The largest comes first, so that the first layers alone are a coarser form of all. */
function decodeLayers(root: JsonObject): number[] {
  if (!root.has('layers')) return [1]
  const layers = integers(root, 'layers', MAX_LAYER_WORTH)
  const falling = layers.every((worth, i) => worth >= 1 && (i === 0 || worth < layers[i - 1]!))
  if (layers.length === 0 || layers.length > MAX_LAYERS || !falling)
    throw invalid(`layers is not 1 to ${MAX_LAYERS} numbers, each smaller than the one before`, { key: 'layers' })
  return layers
}

function decodeType(value: JsonValue): Omit<TableTensor, 'name' | 'referenceCrc'> {
  if (!Array.isArray(value) || value.length !== 4) throw invalid('a type is not [dtype, shape, storage, same scales]')
  const [dtype, shape, storage, sameScales] = value
  if (typeof dtype !== 'string' || !isDtype(dtype) || isSubByte(dtype))
    throw invalid(
      `dtype ${typeof dtype === 'string' ? JSON.stringify(dtype.slice(0, 80)) : 'that is no text'} is unknown`,
    )
  const code = integer(storage, 'storage', 255)
  const named = STORAGES[code]
  if (named === undefined) throw invalid(`storage kind ${code} is unknown; version 1 knows 0 to ${STORAGES.length - 1}`)
  if (named !== 'lossless' && !isFloating(dtype)) throw invalid(`trits of dtype ${dtype}, which is no floating one`)
  const distance = integer(sameScales, 'same scales', MAX_TENSORS)
  if (named === 'lossless' && distance !== 0) throw invalid('a lossless tensor with scales')
  if (!Array.isArray(shape)) throw invalid('a shape is not an array')
  const dimensions = shape.map((dimension) => integer(dimension, 'a dimension', Number.MAX_SAFE_INTEGER))
  checkShape(dimensions)
  return { dtype, shape: dimensions, storage: named, sameScales: distance }
}

/** @throws CompressError CONTAINER_INVALID */
export function checkShape(shape: readonly number[]): void {
  if (shape.length > MAX_DIMENSIONS)
    throw invalid(`a shape of ${shape.length} dimensions; the most is ${MAX_DIMENSIONS}`)
  // The product without its zeros: [2^40, 2^40, 0] must not overflow on the way to 0.
  let product = 1
  for (const dimension of shape) {
    if (dimension > 0) product *= dimension
    if (product > Number.MAX_SAFE_INTEGER) throw invalid(`the shape [${shape.join(', ')}] has 2^53 entries or more`)
  }
}

/** Bytes of a tensor as an ordinary file holds it. */
export function tensorBytes({ dtype, shape }: Pick<TensorInfo, 'dtype' | 'shape'>): number {
  return shape.reduce((product, dimension) => product * dimension, dtypeBytes(dtype))
}

function oneOf<T extends string>(allowed: readonly T[], root: JsonObject, key: string): T {
  const value = root.get(key)
  const found = allowed.find((one) => one === value)
  if (found === undefined) throw invalid(`${key} is none of ${allowed.join(', ')}`, { key })
  return found
}

/** A column: an array, or nothing, which is an empty one. */
function array(root: JsonObject, key: string): JsonValue[] {
  const value = root.get(key)
  if (value === undefined) return []
  if (!Array.isArray(value)) throw invalid(`${key} is not an array`, { key })
  return value
}

function integers(root: JsonObject, key: string, most: number): number[] {
  return array(root, key).map((value) => integer(value, key, most))
}

function strings(root: JsonObject, key: string): string[] {
  return array(root, key).map((value) => {
    if (typeof value !== 'string') throw invalid(`${key} holds something that is no text`, { key })
    return value
  })
}

function integer(value: JsonValue | undefined, what: string, most: number): number {
  if (typeof value !== 'number' || value < 0 || value > most)
    throw invalid(`${what} holds something that is no integer from 0 to ${most}`, { key: what })
  return value
}

function plainObject(value: JsonValue | undefined, key: string): Record<string, unknown> {
  if (!(value instanceof Map)) throw invalid(`${key} is not an object`, { key })
  return toPlainJson(value) as Record<string, unknown>
}

function stringMap(value: JsonValue | undefined, key: string): Record<string, string> {
  const entries = [...(value === undefined ? new Map() : asMap(value, key))]
  return Object.fromEntries(
    entries.map(([name, text]) => {
      if (typeof text !== 'string') throw invalid(`${key} holds something that is no text`, { key, name })
      return [name, text]
    }),
  )
}

function asMap(value: JsonValue, key: string): JsonObject {
  if (!(value instanceof Map)) throw invalid(`${key} is not an object`, { key })
  return value
}

function sameLength(a: string, lengthA: number, b: string, lengthB: number): void {
  if (lengthA !== lengthB) throw invalid(`the table has ${lengthA} ${a} for ${lengthB} ${b}`)
}

function tooMany(tensors: number): CompressError {
  return invalid(`${tensors} tensors; the most is ${MAX_TENSORS}`)
}
