import { describe, expect, test } from 'vitest'
import { checkPatterns, matchesAny } from '../../../compress/name-patterns.ts'

const MATCHES: readonly [pattern: string, name: string, expected: boolean][] = [
  ['classifier', 'base_model.model.classifier.weight', true],
  ['classifier', 'base_model.model.pre_classifier.weight', false],
  ['layer.1', 'encoder.layer.1.dense.weight', true],
  ['layer.1', 'encoder.layer.10.dense.weight', false],
  ['weight', 'weight', true],
  ['*', 'anything.at.all', true],
  ['*.lora_B.*', 'a.lora_B.weight', true],
  ['*.lora_B', 'a.lora_B.weight', false],
  ['layer.?.w', 'layer.3.w', true],
  ['layer.?.w', 'layer.13.w', false],
  ['*a*b*', 'xxaxxbxx', true],
  ['*a*b', 'xxaxxbxx', false],
  ['a*', '', false],
  ['**', '', true],
]

describe('a name pattern', () => {
  test.each(MATCHES)('%s on %s gives %s', (pattern, name, expected) => {
    expect(matchesAny([pattern], name)).toBe(expected)
  })

  test('with many stars takes time in proportion to pattern and name', () => {
    const stars = 'a*'.repeat(128)
    expect(matchesAny([stars], 'a'.repeat(100_000))).toBe(true)
    expect(matchesAny([`${stars}b`], 'a'.repeat(100_000))).toBe(false)
  })

  test('does not match by way of characters that mean something elsewhere', () => {
    expect(matchesAny(['a.c*'], 'abc')).toBe(false)
    expect(matchesAny(['(a|b)*'], 'ab')).toBe(false)
  })
})

describe('a list of patterns', () => {
  test('matches when one of them does', () => {
    expect(matchesAny(['x', 'b'], 'a.b')).toBe(true)
    expect(matchesAny([], 'a.b')).toBe(false)
  })

  test('has limits on number and length', () => {
    expect(checkPatterns(['a'])).toBeUndefined()
    expect(checkPatterns(['a'.repeat(257)])).toMatch(/256/)
    expect(checkPatterns(Array(65).fill('a'))).toMatch(/64/)
    expect(checkPatterns([''])).toMatch(/1 to/)
  })
})
