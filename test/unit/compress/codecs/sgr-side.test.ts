import { describe, expect, test } from 'vitest'
import { BitWriter } from '../../../../compress/codecs/bits.ts'
import { FRAME_CELLS } from '../../../../compress/codecs/frames.ts'
import { sgr } from '../../../../compress/codecs/sgr.ts'
import { readSide, writeSide } from '../../../../compress/codecs/sgr-side.ts'
import { jsKernels } from '../../../../compress/kernels/js.ts'
import { random } from '../../../fixtures/random.ts'
import { largestOfNormal } from '../../../fixtures/trits.ts'

const REFUSED = expect.objectContaining({ code: 'CONTAINER_INVALID' })

function randomClasses(length: number, classCount: number, seed: number): Uint8Array {
  const uniform = random(seed)
  return Uint8Array.from({ length }, () => uniform() ** 2 * classCount)
}

describe('side information', () => {
  test.each([
    [2, 1],
    [1, 8],
    [4, 4],
    [8, 2],
  ])('gives back the classes of %i x %i', (rowClassCount, colClassCount) => {
    const classes = {
      rowClassCount,
      colClassCount,
      rowClasses: rowClassCount > 1 ? randomClasses(50, rowClassCount, 1) : undefined,
      colClasses: colClassCount > 1 ? randomClasses(333, colClassCount, 2) : undefined,
    }
    const bytes = writeSide(classes)
    expect(readSide(bytes, 0, 50, 333)).toEqual({ classes, length: bytes.length })
  })

  test('of a tensor whose rows and columns are alike is one byte', () => {
    const { rows, cols, positions } = largestOfNormal(100, 100, 0.1, 3)
    expect([...sgr.chooseSide({ rows, cols, ...jsKernels.marginals(positions, rows, cols) })]).toEqual([0])
  })

  test('separates the dense columns of a tensor from the others', () => {
    const colCounts = Uint32Array.from({ length: 64 }, (_, col) => (col % 8 === 0 ? 90 : 2))
    const rowCounts = new Uint32Array(100).fill((8 * 90 + 56 * 2) / 100)
    const side = sgr.chooseSide({ rows: 100, cols: 64, rowCounts, colCounts })
    const { classes } = readSide(side, 0, 100, 64)
    expect(classes.rowClassCount).toBe(1)
    expect(Array.from(classes.colClasses!, (cls) => cls > 0)).toEqual(Array.from(colCounts, (count) => count > 2))
  })

  test('of a tensor whose rows are longer than a frame has no classes', () => {
    const cols = FRAME_CELLS + 1
    const counts = { rowCounts: Uint32Array.of(5, 90000), colCounts: new Uint32Array(cols).fill(0) }
    expect([...sgr.chooseSide({ rows: 2, cols, ...counts })]).toEqual([0])
    expect(() => sgr.sideLength(Uint8Array.of(1, 0xff, 0xff), 0, 2, cols)).toThrow(REFUSED)
  })

  test.each([
    ['is missing', 4, 4, []],
    ['has reserved bits', 4, 4, [0x10]],
    ['has more row classes than rows', 3, 9, [0x02, 0, 0, 0]],
    ['has more column classes than columns', 9, 3, [0x08, 0, 0, 0]],
    ['has classes on an axis of more than 2^20', 2 ** 20 + 1, 4, [0x01, 0, 0, 0]],
    ['ends inside a class map', 100, 100, [0x01]],
    ['has set padding bits', 6, 8, [0x01, 0x68, 0x82]],
  ])('that %s is refused', (_, rows, cols, bytes) => {
    expect(() => sgr.sideLength(Uint8Array.from(bytes), 0, rows, cols)).toThrow(REFUSED)
  })

  test('whose minority is more than half of a node is refused', () => {
    const writer = new BitWriter()
    writer.write(0x01, 8)
    writer.write(0b1000, 4)
    writer.write(3, 2) // of 4 members
    expect(() => sgr.sideLength(Uint8Array.from([...writer.finish(), 0xff]), 0, 4, 4)).toThrow(
      'a minority of 3 among 4',
    )
  })

  test('that lists a member past its node is refused', () => {
    const writer = new BitWriter()
    writer.write(0x01, 8)
    writer.write(0b1000, 4)
    writer.write(1, 2)
    writer.writeUnary(4)
    expect(() => sgr.sideLength(writer.finish(), 0, 4, 4)).toThrow(REFUSED)
  })
})
