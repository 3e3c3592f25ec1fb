import { describe, expect, test } from 'vitest'
import { VarintReader, varintLength, writeVarint } from '../../../../compress/codecs/varint.ts'

const BYTES: [number, number[]][] = [
  [0, [0]],
  [127, [0x7f]],
  [128, [0x80, 1]],
  [300, [0xac, 2]],
  [2 ** 32 - 1, [0xff, 0xff, 0xff, 0xff, 0x0f]],
]

function read(bytes: number[]): number {
  return new VarintReader(Uint8Array.from(bytes), 0, bytes.length).next('number')
}

describe('varints', () => {
  test.each(BYTES)('%i is written and read as it should', (value, bytes) => {
    const written = new Uint8Array(bytes.length)
    expect(writeVarint(written, 0, value)).toBe(bytes.length)
    expect([...written]).toEqual(bytes)
    expect(varintLength(value)).toBe(bytes.length)
    expect(read(bytes)).toBe(value)
  })

  test.each([
    ['cut off', [0x80]],
    ['empty', []],
    ['not in their shortest form', [0x80, 0]],
    ['larger than 32 bits', [0xff, 0xff, 0xff, 0xff, 0x10]],
    ['without an end', [0x80, 0x80, 0x80, 0x80, 0x80, 0x80]],
  ])('that are %s are refused', (_, bytes) => {
    expect(() => read(bytes)).toThrow(expect.objectContaining({ code: 'CONTAINER_INVALID' }))
  })

  test('are not read past the given end', () => {
    const reader = new VarintReader(Uint8Array.of(1, 2, 3), 0, 2)
    expect([reader.next('a'), reader.next('b')]).toEqual([1, 2])
    expect(() => reader.next('c')).toThrow('c is cut off')
  })
})
