import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { type ErrorRule, errorMap, errorsPage } from '../../server/http/error-map.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const SOURCES = [
  'tensors/errors.ts',
  'compress/errors.ts',
  'merge/errors.ts',
  'registry/errors.ts',
  'server/service/errors.ts',
]

/** The codes that the folders declare, read from their source: a union type leaves nothing behind to ask. */
function declaredCodes(): string[] {
  return SOURCES.flatMap((file) => {
    const text = readFileSync(ROOT + file, 'utf8')
    return [...text.matchAll(/^ {2}\| '([A-Z_]+)'/gm)].map(([, code = '']) => code)
  })
}

/** Codes that the program raises by name. */
function raisedCodes(): Set<string> {
  const files = ['tensors', 'compress', 'merge', 'registry', 'server'].flatMap((folder) =>
    readdirSync(ROOT + folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !name.endsWith('errors.ts') && !name.endsWith('error-map.ts'))
      .map((name) => `${folder}/${name}`),
  )
  const text = files.map((file) => readFileSync(ROOT + file, 'utf8')).join('\n')
  return new Set([...text.matchAll(/'([A-Z]+(?:_[A-Z]+)*)'/g)].map(([, code = '']) => code))
}

describe('the table of errors', () => {
  test('has every code that a folder declares, and no other', () => {
    const declared = [...new Set(declaredCodes())]
    expect(declared.length).toBeGreaterThan(50)
    expect(Object.keys(errorMap).toSorted()).toEqual(declared.toSorted())
  })

  test('has no code that nothing raises', () => {
    const raised = raisedCodes()
    expect(Object.keys(errorMap).filter((code) => !raised.has(code))).toEqual([])
  })

  test('gives every code a status of the 4xx or 5xx, a cause and a remedy', () => {
    for (const [code, { status, when, remedy }] of Object.entries<ErrorRule>(errorMap)) {
      expect(status, code).toBeGreaterThanOrEqual(400)
      expect(status, code).toBeLessThan(600)
      expect(when, code).toMatch(/\.$/)
      expect(remedy, code).toMatch(/\.$/)
    }
  })

  test('in docs/errors.md is the one of the program (else run "npm run openapi")', () => {
    expect(readFileSync(`${ROOT}docs/errors.md`, 'utf8')).toBe(errorsPage())
  })
})
