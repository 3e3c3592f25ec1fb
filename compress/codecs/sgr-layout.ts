/** How a part of a frame falls into strata: (row class) x (column class), row-major inside. CODECS.md, "Strata". */
import { FRAME_CELLS } from './frames.ts'
import { readSide, type TensorClasses } from './sgr-side.ts'
import type { FramePart } from './trit-codec.ts'

export interface PartLayout {
  readonly cells: number
  /** Columns of the tensor; `cells` where the part is one run, not cut into strata. */
  readonly cols: number
  readonly rowClassCount: number
  readonly colClassCount: number
  /** Class of each row in the part, of each column; undefined where there is one class. */
  readonly rowClasses: Uint8Array | undefined
  readonly colClasses: Uint8Array | undefined
  /** Entries of each stratum, row class first; strata may be empty. */
  readonly strata: Uint32Array
}

/** @throws CompressError CONTAINER_INVALID where the side information is not valid for the tensor's shape. */
export function layOutParts(parts: readonly FramePart[]): PartLayout[] {
  const cells = parts.reduce((sum, part) => sum + part.cells, 0)
  if (cells > FRAME_CELLS) throw new Error(`a frame of ${cells} entries; the most is ${FRAME_CELLS}`)
  return parts.map(layOutPart)
}

function layOutPart(part: FramePart): PartLayout {
  const { cells, cols, start } = part
  const { classes, colsOf } = classesOf(part)
  const { rowClassCount, colClassCount } = classes
  if (rowClassCount === 1 && colClassCount === 1) return undividedPart(cells)
  if (start % cols !== 0 || cells % cols !== 0) throw new Error('a part with classes must consist of whole rows')
  const firstRow = start / cols
  const rows = cells / cols
  const rowClasses = classes.rowClasses?.subarray(firstRow, firstRow + rows)
  const rowsOf = countClasses(rowClasses, rowClassCount, rows)
  const strata = new Uint32Array(rowClassCount * colClassCount)
  for (let s = 0; s < strata.length; s++)
    strata[s] = rowsOf[Math.floor(s / colClassCount)]! * colsOf[s % colClassCount]!
  return { cells, cols, rowClassCount, colClassCount, rowClasses, colClasses: classes.colClasses, strata }
}

function undividedPart(cells: number): PartLayout {
  return {
    cells,
    cols: cells,
    rowClassCount: 1,
    colClassCount: 1,
    rowClasses: undefined,
    colClasses: undefined,
    strata: Uint32Array.of(cells),
  }
}

function countClasses(classes: Uint8Array | undefined, classCount: number, length: number): Uint32Array {
  if (classes === undefined) return Uint32Array.of(length)
  const counts = new Uint32Array(classCount)
  for (let i = 0; i < length; i++) counts[classes[i]!]!++
  return counts
}

interface KnownSide {
  readonly rows: number
  readonly cols: number
  readonly classes: TensorClasses
  /** Columns of each class. */
  readonly colsOf: Uint32Array
}

/**
 * Side information read before, by the array that holds it: a tensor of many frames would otherwise read its maps again
 * for each. Whoever passes `side` must not change it afterwards.
 */
const known = new WeakMap<Uint8Array, KnownSide>()

function classesOf({ side, rows, cols }: FramePart): KnownSide {
  const earlier = known.get(side)
  if (earlier !== undefined && earlier.rows === rows && earlier.cols === cols) return earlier
  const { classes, length } = readSide(side, 0, rows, cols)
  if (length !== side.length) throw new Error(`side information of ${length} bytes was given as ${side.length} bytes`)
  const colsOf = countClasses(classes.colClasses, classes.colClassCount, cols)
  const read = { rows, cols, classes, colsOf }
  known.set(side, read)
  return read
}
