import { describe, expect, test } from 'vitest'
import { joinPlanes, splitPlanes } from '../../../../compress/bytes/byte-planes.ts'
import { crc32 } from '../../../../compress/bytes/crc32.ts'

describe('byte planes', () => {
  test('put all first bytes before all second ones', () => {
    expect(splitPlanes(Uint8Array.of(1, 2, 3, 4, 5, 6), 2)).toEqual(Uint8Array.of(1, 3, 5, 2, 4, 6))
    expect(splitPlanes(Uint8Array.of(1, 2, 3, 4, 5, 6), 3)).toEqual(Uint8Array.of(1, 4, 2, 5, 3, 6))
  })

  test.each([1, 2, 4, 8])('of %i-byte elements join to what was split', (size) => {
    const bytes = Uint8Array.from({ length: 24 }, (_, i) => i * 7)
    expect(joinPlanes(splitPlanes(bytes, size), size)).toEqual(bytes)
  })

  test('refuse part of an element', () => {
    expect(() => splitPlanes(new Uint8Array(7), 2)).toThrow('7 bytes are not whole elements of 2 bytes')
  })
})

test('crc32 gives the check value of its definition', () => {
  expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926)
  expect(crc32(new Uint8Array(0))).toBe(0)
})
