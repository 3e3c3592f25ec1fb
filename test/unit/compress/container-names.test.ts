import { describe, expect, test } from 'vitest'
import { decodeBaseNames, decodeNames, encodeBaseNames, encodeNames } from '../../../compress/container-names.ts'

const names = ['a.b.weight', 'a.b.bias', 'a.c', 'a.c.d', '', '.', '..', 'x', 'a.b.weight2']

describe('tensor names', () => {
  test('are stored as shared segments and the rest', () => {
    expect(encodeNames(names)).toEqual({
      shared: [0, 2, 1, 1, 0, 0, 1, 0, 0],
      rest: ['a.b.weight', 'bias', 'c', 'c.d', '', '.', '.', 'x', 'a.b.weight2'],
    })
  })

  test('come back as they were', () => {
    expect(decodeNames(encodeNames(names))).toEqual(names)
  })

  test('are refused when one shares more segments than there are', () => {
    expect(() => decodeNames({ shared: [0, 2], rest: ['a.b', 'c'] })).toThrow('tensor 1 shares 2 name segments')
  })

  test('are refused when two are equal', () => {
    expect(() => decodeNames({ shared: [0, 1], rest: ['a.b', 'b'] })).toThrow('two tensors are named a.b')
    expect(() => encodeNames(['a', 'a'])).toThrow('two tensors are named a')
  })

  test('are refused above a kilobyte, in bytes of UTF-8', () => {
    expect(() => encodeNames(['é'.repeat(512)])).not.toThrow()
    expect(() => encodeNames(['é'.repeat(513)])).toThrow('a tensor name of 1026 bytes; the most is 1024')
  })

  test('are refused when prefix coding makes more of them than memory should hold', () => {
    const rest = Array.from({ length: 40_000 }, (_, i) => (i === 0 ? `${'a'.repeat(1000)}.x` : `x${i}`))
    expect(() => decodeNames({ shared: rest.map((_, i) => Math.min(i, 1)), rest })).toThrow(
      'tensor names of more than 33554432 bytes in all',
    )
  })

  test('are refused when they have no UTF-8 form', () => {
    expect(() => encodeNames(['\ud800'])).toThrow('lone surrogate')
  })
})

describe('base names', () => {
  const expert = ['bert.encoder.w', 'bert.pooler.w', 'classifier.w']

  test.each([
    [
      'a prefix taken away',
      { 'bert.encoder.w': 'encoder.w', 'bert.pooler.w': 'pooler.w' },
      { strip: 'bert.', add: '' },
    ],
    [
      'a prefix exchanged',
      { 'bert.encoder.w': 'model.encoder.w', 'bert.pooler.w': 'model.pooler.w' },
      { strip: 'bert', add: 'model' },
    ],
    ['a prefix added to all', Object.fromEntries(expert.map((name) => [name, `m.${name}`])), { strip: '', add: 'm.' }],
    [
      'a prefix that only one of them loses',
      { 'bert.encoder.w': 'encoder.w' },
      { map: { 'bert.encoder.w': 'encoder.w' } },
    ],
    [
      'no rule',
      { 'bert.encoder.w': 'encoder.w', 'bert.pooler.w': 'other' },
      { map: { 'bert.encoder.w': 'encoder.w', 'bert.pooler.w': 'other' } },
    ],
  ])('with %s are stored in their shortest form and come back', (_, baseNames, stored) => {
    const encoded = encodeBaseNames(expert, baseNames)
    expect(encoded).toEqual(stored)
    expect(decodeBaseNames(expert, encoded)).toEqual(baseNames)
  })

  test('that are the same are not stored', () => {
    expect(encodeBaseNames(expert, 'same')).toBeUndefined()
    expect(encodeBaseNames(expert, { 'classifier.w': 'classifier.w' })).toBeUndefined()
    expect(decodeBaseNames(expert, undefined)).toBe('same')
  })
})
