/**
 * The first layers of a container as a container of their own: coarser, smaller, complete. Only the head is made anew;
 * the payload is the beginning of the one there is (FORMAT.md, "Payload and trit frames").
 */
import type { ByteSource } from '../tensors/byte-source.ts'
import { compress, decompress } from './bytes/zstd.ts'
import { HEADER_BYTES, readFixedHeader, writeFixedHeader } from './container-layout.ts'
import { openContainer } from './container-reader.ts'
import { decodeTable, encodeTable } from './container-table.ts'
import { HEAD_LEVEL } from './container-writer.ts'
import { CompressError } from './errors.ts'

export interface ContainerPrefix {
  readonly size: number
  /** What comes before the payload. */
  readonly head: Uint8Array
  /** Bytes [start, end) of the source that follow the head. */
  readonly payload: { readonly start: number; readonly end: number }
}

/**
 * Throws PARAMETER_INVALID unless `layers` is a whole number from 1 to what the container has, and what openContainer
 * throws. With all layers it is the container as it is.
 */
export async function containerPrefix(
  source: ByteSource,
  layers: number,
  signal?: AbortSignal,
): Promise<ContainerPrefix> {
  const { layers: worths } = await openContainer(source, signal)
  if (!Number.isInteger(layers) || layers < 1 || layers > worths.length)
    throw new CompressError(
      'PARAMETER_INVALID',
      `layers is ${layers}; this container has ${worths.length}: ask for 1 to ${worths.length}`,
      { parameter: 'layers', value: layers, layers: worths.length },
    )
  const fixed = readFixedHeader(await source.read(0, HEADER_BYTES, signal), source.size)
  const start = HEADER_BYTES + fixed.tableStored + fixed.scalesStored
  const before = await source.read(0, start, signal)
  if (layers === worths.length) return { size: source.size, head: before, payload: { start, end: source.size } }
  const tableEnd = HEADER_BYTES + fixed.tableStored
  const rawTable = await decompress(before.subarray(HEADER_BYTES, tableEnd), fixed.tableRaw, 'container: table')
  const table = decodeTable(rawTable)
  const kept = (table.frames.length / worths.length) * layers
  const shorter = encodeTable({
    ...table,
    layers: worths.slice(0, layers),
    frames: table.frames.slice(0, kept),
    crcs: [...table.crcs.slice(0, kept), ...table.crcs.slice(table.frames.length)],
  })
  const stored = await compress(shorter, HEAD_LEVEL)
  const scales = before.subarray(tableEnd, start)
  const payload = [...table.frames.slice(0, kept), ...table.chunks].reduce((sum, length) => sum + length, 0)
  const sizes = { ...fixed, tableStored: stored.length, tableRaw: shorter.length, payload }
  const head = concatenate([await writeFixedHeader(sizes, stored, scales), stored, scales])
  return { size: head.length + payload, head, payload: { start, end: start + payload } }
}

function concatenate(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0))
  let offset = 0
  for (const piece of pieces) {
    whole.set(piece, offset)
    offset += piece.length
  }
  return whole
}
