/**
 * Side information of SGR, once per tensor: how many row and column classes, and who is in which.
 * CODECS.md, "Side information".
 */
import { CompressError } from '../errors.ts'
import { BitReader, BitWriter } from './bits.ts'
import { readClassMap, writeClassMap } from './class-map.ts'
import { FRAME_CELLS } from './frames.ts'

/** Longer axes have one class: stops a short file from asking for a class array of 2^31 entries. */
const MAX_CLASSED_LENGTH = 2 ** 20
const MAX_CLASS_BITS = 3

export interface TensorClasses {
  readonly rowClassCount: number
  readonly colClassCount: number
  /** Class of each row and column; undefined where there is one class only. */
  readonly rowClasses: Uint8Array | undefined
  readonly colClasses: Uint8Array | undefined
}

/** Largest number of classes an axis may have, as a power of two. A tensor whose rows are cut between frames has none. */
export function maxClassBits(length: number, cols: number): number {
  if (cols > FRAME_CELLS || length > MAX_CLASSED_LENGTH) return 0
  return Math.min(MAX_CLASS_BITS, 31 - Math.clz32(length))
}

export function writeSide(classes: TensorClasses): Uint8Array {
  const { rowClassCount, colClassCount, rowClasses, colClasses } = classes
  const writer = new BitWriter()
  writer.write(Math.log2(rowClassCount) | (Math.log2(colClassCount) << 2), 8)
  if (rowClasses !== undefined) writeClassMap(writer, rowClasses, rowClassCount)
  if (colClasses !== undefined) writeClassMap(writer, colClasses, colClassCount)
  return writer.finish()
}

/** @throws CompressError CONTAINER_INVALID */
export function readSide(
  bytes: Uint8Array,
  offset: number,
  rows: number,
  cols: number,
): { classes: TensorClasses; length: number } {
  const reader = new BitReader(bytes, offset, bytes.length)
  const rowBits = reader.read(2)
  const colBits = reader.read(2)
  if (reader.read(4) !== 0) throw invalid('reserved bits of the mode byte are set', rows, cols)
  if (rowBits > maxClassBits(rows, cols) || colBits > maxClassBits(cols, cols))
    throw invalid(`${2 ** rowBits} x ${2 ** colBits} classes are too many for its shape`, rows, cols)
  const classes = {
    rowClassCount: 2 ** rowBits,
    colClassCount: 2 ** colBits,
    rowClasses: rowBits > 0 ? readClassMap(reader, rows, 2 ** rowBits) : undefined,
    colClasses: colBits > 0 ? readClassMap(reader, cols, 2 ** colBits) : undefined,
  }
  return { classes, length: reader.finish() - offset }
}

function invalid(problem: string, rows: number, cols: number): CompressError {
  return new CompressError('CONTAINER_INVALID', `side information of a ${rows} x ${cols} tensor: ${problem}`, {
    rows,
    cols,
  })
}
