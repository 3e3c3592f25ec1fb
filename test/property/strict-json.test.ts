import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseStrictJson, StrictJsonError, toPlainJson } from '../../tensors/strict-json.ts'

const LIMITS = { depth: 16, values: 100_000, members: 100_000 }

describe('the strict JSON reader', () => {
  it('reads whatever JSON.stringify writes as JSON.parse does', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), fc.constantFrom(undefined, 1, '\t'), (value, space) => {
        const text = JSON.stringify(value, null, space)
        expect(toPlainJson(parseStrictJson(text, LIMITS))).toEqual(JSON.parse(text))
      }),
      { numRuns: 500 },
    )
  })

  it('reads damaged text as JSON.parse does, or refuses it', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        '{',
        '}',
        '[',
        ']',
        ',',
        ':',
        '"',
        '\\',
        '\\u00',
        '-',
        '0',
        '1',
        '.',
        'e',
        'true',
        'null',
        ' ',
        '\n',
        'a',
      ),
      fc.string({ unit: 'binary', maxLength: 2 }),
    )
    fc.assert(
      fc.property(
        fc.jsonValue({ maxDepth: 3 }),
        fc.nat(),
        fc.nat(3),
        fc.array(piece, { maxLength: 3 }),
        (value, place, cut, pieces) => {
          const text = JSON.stringify(value)
          const at = place % (text.length + 1)
          const damaged = text.slice(0, at) + pieces.join('') + text.slice(at + cut)
          const read = attempt(damaged)
          if (read !== StrictJsonError) expect(read).toEqual(JSON.parse(damaged))
        },
      ),
      { numRuns: 3000 },
    )
  })
})

function attempt(text: string): unknown {
  try {
    return toPlainJson(parseStrictJson(text, LIMITS))
  } catch (error) {
    if (error instanceof StrictJsonError) return StrictJsonError
    throw error
  }
}
