/** Walks the plain values of a recipe and refuses what does not fit, naming the key and the line. */
import { MergeError } from './errors.ts'
import type { RecipeDocument, RecipePath } from './recipe-document.ts'

export interface Cursor {
  readonly value: unknown
  readonly path: RecipePath
  readonly document: RecipeDocument
}

/** Where a recipe says something, kept so that the planner can still name it. */
export interface RecipePlace {
  readonly key: string
  readonly line: number | undefined
}

export function root(document: RecipeDocument): Cursor {
  return { value: document.value, path: [], document }
}

export function place(cursor: Cursor): RecipePlace {
  return { key: keyText(cursor.path), line: cursor.document.lineOf(cursor.path) }
}

/** RECIPE_INVALID at a place: `models[1].parameters.weight (line 7): ...`. */
export function recipeError(where: RecipePlace, message: string, detail: Record<string, unknown> = {}): MergeError {
  const line = where.line === undefined ? '' : ` (line ${where.line})`
  const { key } = where
  return new MergeError('RECIPE_INVALID', `${key || 'recipe'}${line}: ${message}`, {
    key,
    ...(where.line === undefined ? {} : { line: where.line }),
    ...detail,
  })
}

export function fail(cursor: Cursor, message: string): never {
  throw recipeError(place(cursor), message)
}

export function isPresent(cursor: Cursor): boolean {
  return cursor.value !== undefined && cursor.value !== null
}

/** A child of an object; its value is undefined where the key is absent. */
export function child(cursor: Cursor, key: string): Cursor {
  const value = (cursor.value as Record<string, unknown>)[key]
  return { value, path: [...cursor.path, key], document: cursor.document }
}

/** The object's keys as cursors, every key checked by `known`, which returns the reason for a refusal. */
export function entries(cursor: Cursor, known: (key: string) => string | undefined): Map<string, Cursor> {
  const { value } = cursor
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    fail(cursor, `expected a mapping, got ${kindOf(value)}`)
  }
  const found = new Map<string, Cursor>()
  for (const key of Object.keys(value)) {
    const at = child(cursor, key)
    const reason = known(key)
    if (reason !== undefined) fail(at, reason)
    found.set(key, at)
  }
  return found
}

export function items(cursor: Cursor, limit: number): Cursor[] {
  const { value } = cursor
  if (!Array.isArray(value) || value.length === 0) fail(cursor, `expected a non-empty list, got ${kindOf(value)}`)
  if (value.length > limit) fail(cursor, `at most ${limit} entries are allowed, got ${value.length}`)
  return value.map((item, index) => ({ value: item, path: [...cursor.path, index], document: cursor.document }))
}

export function text(cursor: Cursor, limit = 1024): string {
  const { value } = cursor
  if (typeof value !== 'string' || value === '') fail(cursor, `expected text, got ${kindOf(value)}`)
  if (value.length > limit) fail(cursor, `at most ${limit} characters are allowed, got ${value.length}`)
  return value
}

export function oneOf<T extends string>(cursor: Cursor, allowed: readonly T[]): T {
  const value = text(cursor)
  if (!(allowed as readonly string[]).includes(value)) {
    fail(cursor, `'${value}' is not one of ${allowed.join(', ')}`)
  }
  return value as T
}

export function kindOf(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  if (typeof value === 'object') return 'a mapping'
  return value === '' ? 'empty text' : `${typeof value} ${JSON.stringify(value).slice(0, 60)}`
}

function keyText(path: RecipePath): string {
  let key = ''
  for (const step of path) key += typeof step === 'number' ? `[${step}]` : key ? `.${step}` : step
  return key
}
