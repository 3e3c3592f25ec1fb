import { createContext, Script } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compilePatterns } from '../../tensors/module-pattern.ts'

const atom = fc.constantFrom('a', 'b', '\\.', '.', '[ab]', '[^a]', '\\d', '\\w', '^', '$', 'q1')
const quantifier = fc.constantFrom('', '', '', '*', '+', '?', '{2}', '{1,2}', '{0,}', '*?')

const { pattern } = fc.letrec<{ pattern: string; group: string; piece: string; sequence: string }>((tie) => ({
  group: fc.tuple(fc.constantFrom('(', '(?:'), tie('pattern')).map(([open, inner]) => `${open}${inner})`),
  piece: fc
    .tuple(
      fc.oneof({ maxDepth: 3 }, { weight: 4, arbitrary: atom }, { weight: 1, arbitrary: tie('group') }),
      quantifier,
    )
    // JavaScript has no quantifier after an anchor.
    .map(([body, count]) => (body === '^' || body === '$' ? body : body + count)),
  sequence: fc.array(tie('piece'), { maxLength: 4 }).map((pieces) => pieces.join('')),
  pattern: fc.array(tie('sequence'), { minLength: 1, maxLength: 3 }).map((parts) => parts.join('|')),
}))

/** Longer keys are refused. */
const LONGEST_KEY = 512

const context = createContext({ source: '', module: '' })
const backtracking = new Script('new RegExp(source).test(module)')
/** Nested repeats cost a backtracking engine exponential time, so it is given up on: undefined. */
const GIVE_UP_MS = 100

function matchesByBacktracking(key: string, module: string): boolean | undefined {
  Object.assign(context, { source: `^(?:.*\\.)?(?:${key})$`, module })
  try {
    return backtracking.runInContext(context, { timeout: GIVE_UP_MS }) as boolean
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return undefined
    throw error
  }
}

describe('a pattern over module names', () => {
  it('matches what a backtracking engine matches', () => {
    const seen = { yes: 0, no: 0 }
    fc.assert(
      fc.property(
        pattern,
        fc.string({ unit: fc.constantFrom('a', 'b', '.', '1', 'q'), maxLength: 8 }),
        (key, module) => {
          fc.pre(key.length <= LONGEST_KEY)
          const expected = matchesByBacktracking(key, module)
          fc.pre(expected !== undefined)
          expect(compilePatterns({ [key]: 1 }).find(module)).toBe(expected ? 1 : undefined)
          seen[expected ? 'yes' : 'no']++
        },
      ),
      { numRuns: 5000 },
    )
    expect(Math.min(seen.yes, seen.no)).toBeGreaterThan(200)
  })
})
