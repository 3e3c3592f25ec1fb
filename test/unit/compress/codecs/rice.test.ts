import { describe, expect, test } from 'vitest'
import { rice } from '../../../../compress/codecs/rice.ts'
import { INDEX_MASK } from '../../../../compress/quantized-tensor.ts'
import { largestOfNormal, type TritTensor, tritTensor } from '../../../fixtures/trits.ts'

const SHAPE = { rows: 1, cols: 100, start: 0, cells: 100, side: new Uint8Array(0) }

function decode(...bytes: number[]) {
  return rice.decodeFrame(Uint8Array.from(bytes), [SHAPE])
}

/** Bytes of the gaps with the best of all parameters. */
function fewestBytes({ positions }: TritTensor): number {
  const costs = Array.from({ length: 19 }, (_, r) => {
    let bits = 0
    let previous = -1
    for (const position of positions) {
      bits += Math.floor(((position & INDEX_MASK) - previous - 1) / 2 ** r) + r + 2
      previous = position & INDEX_MASK
    }
    return Math.ceil(bits / 8)
  })
  return Math.min(...costs)
}

describe('the Rice codec', () => {
  test.each([
    ['dense', largestOfNormal(40, 50, 0.9, 1)],
    ['sparse', largestOfNormal(40, 50, 0.002, 2)],
    ['of density 0.05', largestOfNormal(40, 50, 0.05, 3)],
    ['with one far entry', { rows: 1, cols: 200000, positions: Uint32Array.of(199999) }],
    [
      'with entries at both ends',
      tritTensor(
        1,
        3000,
        Array.from({ length: 3000 }, (_, i) => (i < 9 || i > 2990 ? 1 : 0)),
      ),
    ],
  ])('takes the parameter that gives the fewest bytes on a tensor that is %s', (_, tensor) => {
    const part = { ...tensor, start: 0, cells: tensor.rows * tensor.cols, side: new Uint8Array(0) }
    const countBytes = tensor.positions.length < 128 ? 1 : 2
    expect(rice.encodeFrame([part]).length).toBe(countBytes + 1 + fewestBytes(tensor))
  })

  test.each([19, 24, 32, 255])('refuses the parameter %i', (r) => {
    expect(() => decode(1, r, 0xff, 0xff, 0xff, 0xff, 0xff)).toThrow(`Rice parameter ${r}`)
  })

  test('refuses more non-zeros than entries, or than the bytes can hold, before making room for them', () => {
    expect(() => decode(101, 0, ...new Array(99).fill(0xff))).toThrow('101 non-zeros in 100 entries')
    expect(() => decode(100, 0, 0xff)).toThrow('100 non-zeros in 100 entries and 2 bytes')
  })

  test('refuses a position past the entries', () => {
    expect(decode(1, 6, 0b01000110, 0)).toEqual([Uint32Array.of(81)])
    expect(() => decode(1, 6, 0b11111110, 0)).toThrow('a position past its 100 entries')
  })
})
