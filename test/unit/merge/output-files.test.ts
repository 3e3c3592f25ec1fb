import { describe, expect, it } from 'vitest'
import { layerDepths } from '../../../merge/layer-depth.ts'
import { patchConfigJson } from '../../../merge/output-files.ts'
import { canonicalJson } from '../../../merge/plan-digest.ts'

describe('config.json of a merge', () => {
  it.each([
    ['dtype', '{"dtype": "float32", "a": 1}', { dtype: 'bfloat16', a: 1 }],
    ['torch_dtype', '{"torch_dtype": "float32"}', { torch_dtype: 'bfloat16' }],
    ['no dtype', '{}', { torch_dtype: 'bfloat16' }],
  ])('says the dtype of the weights where the base has %s', (_, text, expected) => {
    expect(JSON.parse(patchConfigJson(text, { dtype: 'bfloat16' }))).toEqual(expected)
  })

  it('unties the output layer only where it was given values of its own', () => {
    const text = '{"tie_word_embeddings": true}'
    expect(JSON.parse(patchConfigJson(text, { untied: true }))).toEqual({ tie_word_embeddings: false })
    expect(JSON.parse(patchConfigJson(text, {}))).toEqual({ tie_word_embeddings: true })
  })

  it.each(['', '[]', '{'])('is refused where the one of the base is %j', (text) => {
    expect(() => patchConfigJson(text, {})).toThrow(expect.objectContaining({ code: 'RECIPE_INVALID' }))
  })
})

describe('the depth of a tensor', () => {
  const names = [
    'embed.w',
    'layers.0.q',
    'layers.1.q',
    'layers.2.mlp.0.w',
    'one.0.q',
    'gaps.0.w',
    'gaps.2.w',
    'norm.w',
  ].map((name) => `${name}.weight`)
  const depth = layerDepths(names)

  it('runs from 0 to 1 over the layers, and is 0 outside of them', () => {
    expect(names.map(depth)).toEqual([0, 0, 0.5, 1, 1, 0, 0, 0])
  })
})

describe('canonical JSON', () => {
  it('sorts keys, leaves out what is undefined and keeps -0 apart', () => {
    expect(canonicalJson({ b: [1, -0, null], a: { d: undefined, c: 'x' } })).toBe('{"a":{"c":"x"},"b":[1,-0,null]}')
  })
})
