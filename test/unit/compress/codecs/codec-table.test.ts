import { describe, expect, test } from 'vitest'
import { codecById, codecByName } from '../../../../compress/codecs/codec-table.ts'

describe('the table of codecs', () => {
  test.each([
    [1, 'bitplane'],
    [2, 'rice'],
    [3, 'sgr'],
  ])('has %i as %s', (id, name) => {
    expect(codecById(id)).toBe(codecByName(name))
    expect(codecById(id)).toMatchObject({ id, name })
  })

  test('names the codecs there are when asked for another', () => {
    expect(() => codecByName('golomb')).toThrow('unknown trit codec golomb; this version of Tern knows bitplane (1)')
    expect(() => codecById(0)).toThrow(expect.objectContaining({ code: 'CODEC_UNKNOWN' }))
  })
})
