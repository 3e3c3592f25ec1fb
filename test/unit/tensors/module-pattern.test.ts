import { describe, expect, it } from 'vitest'
import { compilePatterns, PatternError } from '../../../tensors/module-pattern.ts'

function matches(key: string, module: string): boolean {
  return compilePatterns({ [key]: 1 }).find(module) === 1
}

describe('a key of rank_pattern', () => {
  // Expected values: re.match(rf"(.*\.)?({key})$", module) of Python 3.11.
  it.each([
    ['q_proj', 'q_proj', true],
    ['q_proj', 'model.layers.0.self_attn.q_proj', true],
    ['q_proj', 'model.layers.0.self_attn.xq_proj', false],
    ['q_proj', 'model.q_proj.base', false],
    ['self_attn.q_proj', 'model.layers.0.self_attn.q_proj', true],
    ['self_attn.q_proj', 'model.layers.0.self_attnXq_proj', true],
    ['model.layers.0.self_attn.q_proj', 'model.layers.0.self_attn.q_proj', true],
    ['^model.layers.0.q', 'model.layers.0.q', true],
    ['^layers.0.q', 'model.layers.0.q', false],
    ['layers.0.q$', 'model.layers.0.q', true],
    ['.*layers\\.[0-3]\\..*', 'model.layers.2.q', true],
    ['.*layers\\.[0-3]\\..*', 'model.layers.7.q', false],
    ['layers\\.[^0-3]\\.q', 'model.layers.7.q', true],
    ['layers\\.\\d+\\.q', 'model.layers.17.q', true],
    ['layers\\.\\d{2}\\.q', 'model.layers.7.q', false],
    ['layers\\.\\d{1,2}\\.q', 'model.layers.7.q', true],
    ['layers\\.\\d{2,}\\.q', 'model.layers.177.q', true],
    ['layers\\.\\d{,2}\\.q', 'model.layers.177.q', false],
    ['(q|k|v)_proj', 'model.k_proj', true],
    ['(?:q|k|v)_proj', 'model.o_proj', false],
    ['q|v_proj', 'model.q', true],
    ['q|v_proj', 'model.q_proj', false],
    ['(a|b)*?c+', 'x.ababcc', true],
    ['a{0}b', 'x.b', true],
    ['a{2}|b', 'x.aa', true],
    ['a{x}', 'a{x}', true],
    ['[]a]+', ']a', true],
    ['[a-]+', 'a-a', true],
    ['[\\w.]+', 'any.thing', true],
    ['\\.x', 'a..x', true],
    ['', 'a', false],
    ['', 'a.', true],
    ['()', 'a.', true],
    ['(a|)b', 'x.b', true],
    ['(a*)*b', 'x.aab', true],
    ['(a*)+', 'aaab', false],
  ] as const)('%j and the module %j: %s', (key, module, expected) => {
    expect(matches(key, module)).toBe(expected)
  })

  it('that comes first decides, though a later one fits as well', () => {
    const patterns = compilePatterns({ 'layer.0.q': 1, q: 2, '.*': 3 })
    expect(['m.layer.0.q', 'm.layer.1.q', 'm.k'].map((module) => patterns.find(module))).toEqual([1, 2, 3])
    expect(compilePatterns({ q: 2 }).find('k')).toBeUndefined()
  })

  it.each(['(a+)+$', '(a|a)*', '(.*)*x', '((a*)*)*', '(a|aa)+'])(
    'that would trap a backtracking engine is soon done: %s',
    (key) => {
      expect(matches(key, `${'a'.repeat(2000)}!`)).toBe(false)
    },
  )

  it.each([
    ['(', /without its/],
    [')', /without its/],
    ['[a', /without its/],
    ['[', /without its/],
    ['*a', /nothing to repeat/],
    ['a**', /quantifier after/],
    ['a{3,2}', /from 3 to 2/],
    ['[b-a]', /range b-a/],
    ['(?=a)', /\(\?/],
    ['(?<!a)b', /\(\?/],
    ['(?P<n>a)', /\(\?/],
    ['(a)\\1', /escape/],
    ['\\bq', /escape/],
    ['a\\', /escape/],
    ['((a{99}){99}){99}', /states/],
    ['a{1000000000000}', /states/],
  ])('that cannot be run is refused: %s', (key, message) => {
    const compile = () => compilePatterns({ [key]: 1 })
    expect(compile).toThrow(PatternError)
    expect(compile).toThrow(message)
  })

  it('that is too long is refused unless it is a plain name', () => {
    expect(() => compilePatterns({ ['(x)'.repeat(200)]: 1 })).toThrow(/600 characters/)
    expect(matches('x'.repeat(600), 'x'.repeat(600))).toBe(true)
  })

  it('is refused where all together are too many or too complex', () => {
    expect(() => compilePatterns(Object.fromEntries(Array.from({ length: 10_001 }, (_, i) => [`m${i}`, 1])))).toThrow(
      /10001 keys/,
    )
    expect(() =>
      compilePatterns(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`(m${i}){10}`, 1]))),
    ).toThrow(/too complex/)
  })

  it('is refused where the patterns would take forever over the names of a model', () => {
    const patterns = compilePatterns({ '(a?){500}b': 1 })
    expect(() => {
      for (let i = 0; i < 100_000; i++) patterns.find('a'.repeat(2000) + i)
    }).toThrow(/too costly/)
  })
})
