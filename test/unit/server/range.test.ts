import { describe, expect, test } from 'vitest'
import { matchesTag, parseRange, rangeStillValid } from '../../../server/http/range.ts'

describe('a range', () => {
  test.each([
    ['bytes=0-0', 0, 1],
    ['bytes=0-9', 0, 10],
    ['bytes=3-', 3, 10],
    ['bytes=-4', 6, 10],
    ['bytes=-99', 0, 10],
    ['bytes=9-99', 9, 10],
    ['Bytes = 1-2'.replace(' = ', '='), 1, 3],
  ])('%s of ten bytes is [%d, %d)', (header, start, end) => {
    expect(parseRange(header, 10)).toEqual({ start, end })
  })

  test.each([
    undefined,
    '',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=5-2',
    'bytes=0-1,3-4',
    'items=0-1',
    'bytes=1.5-2',
  ])('%s counts as none', (header) => {
    expect(parseRange(header, 10)).toBeUndefined()
  })

  test.each([
    ['bytes=10-', 10],
    ['bytes=10-20', 10],
    ['bytes=-0', 10],
    ['bytes=0-0', 0],
    ['bytes=-5', 0],
  ])('%s of %d bytes lies outside', (header, size) => {
    expect(() => parseRange(header, size)).toThrow(
      expect.objectContaining({ code: 'RANGE_INVALID', detail: expect.objectContaining({ size }) }),
    )
  })
})

describe('a tag', () => {
  test('matches itself in a list, weak or strong, and anything matches *', () => {
    for (const header of ['"a"', 'W/"a"', '"x", "a"', '*']) expect(matchesTag(header, '"a"')).toBe(true)
    for (const header of [undefined, '', '"b"', 'a', '"a']) expect(matchesTag(header, '"a"')).toBe(false)
  })

  test('keeps a range valid only if it is strong and the same', () => {
    expect(rangeStillValid(undefined, '"a"')).toBe(true)
    expect(rangeStillValid('"a"', '"a"')).toBe(true)
    expect(rangeStillValid('W/"a"', '"a"')).toBe(false)
    expect(rangeStillValid('Wed, 21 Oct 2015 07:28:00 GMT', '"a"')).toBe(false)
  })
})
