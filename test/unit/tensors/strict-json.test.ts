import { describe, expect, it } from 'vitest'
import { JsonNumber, parseStrictJson, StrictJsonError, toPlainJson } from '../../../tensors/strict-json.ts'

const LIMITS = { depth: 8, values: 160, members: 10 }

describe('text that JSON.parse reads too', () => {
  it.each([
    '{}',
    ' [ ] ',
    '{"a":[1,-2,0,true,false,null,"x"],"b":{"c":{}}}',
    '"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\ud83d\\ude00 \u00e9\u{1f600}"',
    '[1.5, 1e3, -0, 0.25E-2, 9007199254740993]',
    '\t\r\n{ "a" : 1 }\n',
    '{"__proto__":{"x":1},"constructor":2,"toString":"t"}',
  ])('gives the same value: %s', (text) => {
    expect(toPlainJson(parseStrictJson(text, LIMITS))).toEqual(JSON.parse(text))
  })

  it.each([
    '',
    '{',
    '{"a"}',
    '{"a":}',
    '{"a":1,}',
    '[1,]',
    '[1 2]',
    '{a:1}',
    "{'a':1}",
    '01',
    '+1',
    '.5',
    '1.',
    '1e',
    'NaN',
  ])('is refused where JSON.parse refuses it: %s', (text) => {
    expect(() => JSON.parse(text)).toThrow()
    expect(() => parseStrictJson(text, LIMITS)).toThrow(StrictJsonError)
  })

  it.each(['"a', '"\\x"', '"\\u12"', '"\\u12g4"', '"\n"', '"\\', 'tru', 'nul', '{} {}', '[]]', '\u00a0{}', '\ufeff{}'])(
    'is refused where JSON.parse refuses it, in strings and around values: %j',
    (text) => {
      expect(() => JSON.parse(text)).toThrow()
      expect(() => parseStrictJson(text, LIMITS)).toThrow(StrictJsonError)
    },
  )
})

describe('text that only JSON.parse reads', () => {
  it.each(['{"a":1,"a":1}', '{"a":1,"\\u0061":2}', '[{"x":{"b":1,"c":2,"b":3}}]'])(
    'is refused for a double key: %s',
    (text) => {
      expect(() => parseStrictJson(text, LIMITS)).toThrow(/given twice/)
    },
  )

  it.each(['"\\ud800"', '"\\udc00\\ud800"', '{"\\udfff":1}', '"\\ud800x\\udc00"'])(
    'is refused for half a surrogate pair: %s',
    (text) => {
      expect(() => parseStrictJson(text, LIMITS)).toThrow(/surrogate/)
    },
  )

  it('is refused for its depth, however deep', () => {
    expect(() => parseStrictJson('['.repeat(9), LIMITS)).toThrow(/nesting deeper than 8/)
    expect(() => parseStrictJson('{"a":'.repeat(1_000_000), LIMITS)).toThrow(/nesting deeper than 8/)
    expect(parseStrictJson(`${'['.repeat(8)}${']'.repeat(8)}`, LIMITS)).toEqual([[[[[[[[]]]]]]]])
  })
})

describe('text of more values than are allowed', () => {
  it('is refused where the first one too many begins', () => {
    expect(parseStrictJson(`[${'1,'.repeat(155)}1]`, LIMITS)).toHaveLength(156)
    expect(() => parseStrictJson(`[${'1,'.repeat(156)}1]`, LIMITS)).toThrow(/more than 160 values at character 313/)
    expect(() => parseStrictJson('['.repeat(3) + '{"a":0},'.repeat(1_000_000), LIMITS)).toThrow(/more than 160 values/)
  })

  it.each([
    ['an object', '{}', 16],
    ['an array', '[]', 4],
    ['a number that no integer is', '-0', 4],
  ])('is refused sooner for what takes more memory: %s', (_, item, cost) => {
    const most = (LIMITS.values - 4) / cost
    const list = (count: number) => `[${Array(count).fill(item).join()}]`
    expect(parseStrictJson(list(Math.floor(most)), LIMITS)).toHaveLength(Math.floor(most))
    expect(() => parseStrictJson(list(Math.floor(most) + 1), LIMITS)).toThrow(/more than 160 values/)
  })
})

describe('an object of more members than are allowed', () => {
  it('is refused at the first one too many', () => {
    const members = Array.from({ length: 11 }, (_, i) => `"${i}":0`)
    expect(parseStrictJson(`{${members.slice(0, 10)}}`, LIMITS)).toHaveProperty('size', 10)
    expect(() => parseStrictJson(`{${members}}`, LIMITS)).toThrow(/more than 10 members/)
  })
})

describe('numbers', () => {
  it('are numbers where a double holds the integer as written', () => {
    expect(parseStrictJson('[0,9007199254740991,-9007199254740991]', LIMITS)).toEqual([0, 2 ** 53 - 1, 1 - 2 ** 53])
  })

  it.each(['1.0', '1e2', '-0', '9007199254740992', '1.00000000000000000001'])(
    'keep their text otherwise: %s',
    (token) => {
      expect(parseStrictJson(token, LIMITS)).toEqual(new JsonNumber(token))
    },
  )
})
