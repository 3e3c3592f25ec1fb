import { describe, expect, test } from 'vitest'
import { formatBytes, formatFields, formatShare, formatTable } from '../../../cli/format.ts'

describe('formatBytes', () => {
  test.each([
    [0, '0 bytes'],
    [999, '999 bytes'],
    [1000, '1.00 kB'],
    [1_371_384, '1.37 MB'],
    [99_960, '100 kB'],
    [999_600, '1.00 MB'],
    [45_437_760, '45.4 MB'],
    [13_480_000_000, '13.5 GB'],
  ])('writes %d as %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text)
  })
})

test('writes a share in percent with three digits', () => {
  expect(formatShare(0.07142)).toBe('7.14 %')
})

test('aligns the columns of a table, numbers to the right', () => {
  expect(
    formatTable(
      ['name', 'bytes'],
      [
        ['a', '5'],
        ['long', '12345'],
      ],
    ),
  ).toBe('name  bytes\na         5\nlong  12345')
})

test('leaves out fields without a value', () => {
  expect(formatFields({ a: 1, skipped: undefined, long: 'x' })).toBe('a     1\nlong  x')
})
