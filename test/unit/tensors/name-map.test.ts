import { describe, expect, it } from 'vitest'
import { matchBaseNames } from '../../../tensors/name-map.ts'

function mapAll(names: string[], baseNames: string[]): (string | undefined)[] {
  return names.map(matchBaseNames(names, baseNames))
}

describe("an expert's tensor in the base", () => {
  it('is the one of the same name', () => {
    expect(mapAll(['a.x', 'b'], ['b', 'a.x', 'c'])).toEqual(['a.x', 'b'])
  })

  it('is found with a prefix stripped, and a head has no partner', () => {
    const names = ['bert.encoder.layer.0.weight', 'bert.pooler.dense.bias', 'classifier.weight']
    expect(mapAll(names, ['encoder.layer.0.weight', 'pooler.dense.bias'])).toEqual([
      'encoder.layer.0.weight',
      'pooler.dense.bias',
      undefined,
    ])
  })

  it('is found with a prefix added', () => {
    expect(mapAll(['layers.0.q', 'norm'], ['model.layers.0.q', 'model.norm', 'lm_head'])).toEqual([
      'model.layers.0.q',
      'model.norm',
    ])
  })

  it('may have a prefix of several parts', () => {
    expect(mapAll(['language_model.model.norm', 'language_model.model.q'], ['norm', 'q'])).toEqual(['norm', 'q'])
  })

  it('may keep its name where others lose a prefix', () => {
    expect(mapAll(['model.a', 'model.b', 'lm_head'], ['a', 'b', 'lm_head'])).toEqual(['a', 'b', 'lm_head'])
  })

  it('is found by the prefix that serves most names', () => {
    const names = ['m.a', 'm.b', 'x.y.c']
    expect(mapAll(names, ['a', 'b', 'y.c', 'c'])).toEqual(['a', 'b', undefined])
  })

  it('is never shared by two names', () => {
    expect(mapAll(['a', 'm.a', 'm.b'], ['a', 'b'])).toEqual(['a', undefined, 'b'])
  })

  it('is not found by cutting within a part of a name', () => {
    expect(mapAll(['mylayer.a'], ['layer.a'])).toEqual([undefined])
  })

  it('does not depend on the order of the names', () => {
    const names = ['p.a', 'q.b', 'p.q.c']
    const base = ['a', 'b', 'c', 'q.c']
    const forward = matchBaseNames(names, base)
    const backward = matchBaseNames(names.toReversed(), base.toReversed())
    expect(names.map(forward)).toEqual(names.map(backward))
  })

  it('has none in a base of another architecture', () => {
    expect(mapAll(['h.0.attn', 'wte'], ['layers.0.q', 'embed'])).toEqual([undefined, undefined])
  })
})
