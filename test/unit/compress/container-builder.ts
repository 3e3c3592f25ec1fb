/** Makes containers for tests out of plain arrays, and opens them up for damage. */
import { crc32 } from '../../../compress/bytes/crc32.ts'
import { compress, decompress } from '../../../compress/bytes/zstd.ts'
import { codecByName } from '../../../compress/codecs/codec-table.ts'
import { readFixedHeader, writeFixedHeader } from '../../../compress/container-layout.ts'
import { matrixOf } from '../../../compress/container-map.ts'
import { type Container, openContainer } from '../../../compress/container-reader.ts'
import type { ContainerHeader } from '../../../compress/container-table.ts'
import { ContainerWriter, type FinishedContainer, memoryPayload } from '../../../compress/container-writer.ts'
import { type QuantizedTensor, type Scales, SIGN_BIT } from '../../../compress/quantized-tensor.ts'
import { memorySource } from '../../../tensors/byte-source.ts'
import type { TensorInfo } from '../../../tensors/tensor.ts'

/** One entry of {-1, 0, 1} per element of the shape. */
export interface TritSpec extends TensorInfo {
  readonly trits: ArrayLike<number>
  /** Of further layers. All tensors of a container have as many. */
  readonly finer?: readonly ArrayLike<number>[]
  readonly scales: Scales
}

export interface LosslessSpec extends TensorInfo {
  readonly bytes: Uint8Array
  readonly reference?: Uint8Array
}

export type TensorSpec = TritSpec | LosslessSpec

export interface ContainerSpec {
  readonly header?: Partial<ContainerHeader>
  readonly codec?: string
  readonly tensors: readonly TensorSpec[]
}

export const HEADER: ContainerHeader = { kind: 'lora', origin: 'zero', base: null, options: {}, metadata: {} }

export function oneScale(value: number): Scales {
  return { axis: 'tensor', values: Float32Array.of(value) }
}

export function quantized({ shape, trits, finer, scales }: TritSpec): QuantizedTensor {
  const layers = finer === undefined ? {} : { finer: finer.map(positionsOf) }
  return { ...matrixOf(shape), positions: positionsOf(trits), ...layers, scales }
}

function positionsOf(trits: ArrayLike<number>): Uint32Array {
  const positions: number[] = []
  for (let i = 0; i < trits.length; i++) if (trits[i] !== 0) positions.push(trits[i]! < 0 ? i + SIGN_BIT : i)
  return Uint32Array.from(positions)
}

function layersOf(tensors: readonly TensorSpec[]): number {
  return 1 + Math.max(0, ...tensors.map((tensor) => ('trits' in tensor ? (tensor.finer?.length ?? 0) : 0)))
}

export async function writeContainer(spec: ContainerSpec): Promise<FinishedContainer> {
  const planned = spec.tensors.map(
    (tensor) =>
      ({
        name: tensor.name,
        dtype: tensor.dtype,
        shape: tensor.shape,
        storage: 'trits' in tensor ? 'trits' : 'lossless',
      }) as const,
  )
  const header = { ...HEADER, ...spec.header }
  const writer = new ContainerWriter(header, planned, {
    codec: codecByName(spec.codec ?? 'rice'),
    spool: memoryPayload(),
    layers: layersOf(spec.tensors),
  })
  for (const tensor of spec.tensors) if ('trits' in tensor) await writer.addTrits(tensor.name, quantized(tensor))
  for (const tensor of spec.tensors)
    if ('bytes' in tensor) await writer.addLossless(tensor.name, tensor.bytes, tensor.reference)
  return writer.finish()
}

export async function collect(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  for await (const piece of stream) pieces.push(piece)
  return new Uint8Array(Buffer.concat(pieces))
}

export async function buildContainer(spec: ContainerSpec): Promise<Uint8Array> {
  return collect((await writeContainer(spec)).stream())
}

export async function openBytes(bytes: Uint8Array): Promise<Container> {
  return openContainer(memorySource(bytes))
}

/** A container taken apart: its table as plain JSON, its scales raw, its payload. */
export interface Parts {
  table: Record<string, unknown>
  scales: Uint8Array
  payload: Uint8Array
}

export async function takeApart(file: Uint8Array): Promise<Parts> {
  const h = readFixedHeader(file, file.length)
  const scalesAt = 64 + h.tableStored
  const payloadAt = scalesAt + h.scalesStored
  const table = await decompress(file.subarray(64, scalesAt), h.tableRaw, 'table')
  return {
    table: JSON.parse(new TextDecoder().decode(table)),
    scales: await decompress(file.subarray(scalesAt, payloadAt), h.scalesRaw, 'scales'),
    payload: file.slice(payloadAt),
  }
}

/** The inverse, with a valid header digest: what is wrong inside has to be found by what it is. */
export async function putTogether({ table, scales, payload }: Parts): Promise<Uint8Array> {
  return sealTable(new TextEncoder().encode(JSON.stringify(table)), scales, payload)
}

export async function sealTable(rawTable: Uint8Array, rawScales: Uint8Array, payload: Uint8Array): Promise<Uint8Array> {
  const table = await compress(rawTable, 3)
  const scales = await compress(rawScales, 3)
  const sizes = {
    tableStored: table.length,
    tableRaw: rawTable.length,
    scalesStored: scales.length,
    scalesRaw: rawScales.length,
    payload: payload.length,
  }
  const header = await writeFixedHeader(sizes, table, scales)
  return new Uint8Array(Buffer.concat([header, table, scales, payload]))
}

/** The file with some of its table changed. */
export async function withTable(file: Uint8Array, change: Record<string, unknown>): Promise<Uint8Array> {
  const parts = await takeApart(file)
  return putTogether({ ...parts, table: { ...parts.table, ...change } })
}

/** The file with frame or chunk `index` of the payload replaced, its length and checksum made to fit. */
export async function withStored(file: Uint8Array, index: number, stored: Uint8Array): Promise<Uint8Array> {
  const { table, scales, payload } = await takeApart(file)
  const frames = (table.frames ?? []) as number[]
  const lengths = [...frames, ...((table.chunks ?? []) as number[])]
  const start = lengths.slice(0, index).reduce((sum, length) => sum + length, 0)
  const changed = Buffer.concat([payload.subarray(0, start), stored, payload.subarray(start + lengths[index]!)])
  lengths[index] = stored.length
  const crcs = (table.crcs as number[]).with(index, crc32(stored))
  const columns = { frames: lengths.slice(0, frames.length), chunks: lengths.slice(frames.length), crcs }
  return putTogether({ table: { ...table, ...columns }, scales, payload: new Uint8Array(changed) })
}
