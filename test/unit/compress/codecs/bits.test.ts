import { describe, expect, test } from 'vitest'
import { BitReader, BitWriter } from '../../../../compress/codecs/bits.ts'

const REFUSED = expect.objectContaining({ code: 'CONTAINER_INVALID' })

describe('bit streams', () => {
  test('fill bytes from the lowest bit and end in zero bits', () => {
    const writer = new BitWriter()
    writer.write(0b1, 1)
    writer.write(0b0110, 4)
    writer.write(0b101, 3)
    writer.write(0b11, 2)
    expect(writer.bitLength).toBe(10)
    expect([...writer.finish()]).toEqual([0b10101101, 0b11])
  })

  test('give back fields of all widths and long unary numbers', () => {
    const writer = new BitWriter()
    for (let width = 0; width <= 24; width++) {
      writer.write(0xa5a5a5, width)
      writer.writeUnary(width * 5)
    }
    const bytes = writer.finish()
    const reader = new BitReader(bytes, 0, bytes.length)
    for (let width = 0; width <= 24; width++) {
      expect(reader.read(width)).toBe(0xa5a5a5 % 2 ** width)
      expect(reader.readUnary(width * 5)).toBe(width * 5)
    }
    expect(reader.finish()).toBe(bytes.length)
  })

  test('are refused where they end too early', () => {
    expect(() => new BitReader(Uint8Array.of(1), 0, 1).read(9)).toThrow(REFUSED)
    expect(() => new BitReader(Uint8Array.of(0), 0, 1).readUnary(100)).toThrow(REFUSED)
  })

  test('are refused where a unary number passes its limit', () => {
    const bytes = Uint8Array.of(0, 0, 0, 1)
    expect(new BitReader(bytes, 0, 4).readUnary(24)).toBe(24)
    expect(() => new BitReader(bytes, 0, 4).readUnary(23)).toThrow(REFUSED)
  })

  test('are refused where their padding is not zero', () => {
    const reader = new BitReader(Uint8Array.of(0b101), 0, 1)
    reader.read(2)
    expect(() => reader.finish()).toThrow(REFUSED)
  })
})
