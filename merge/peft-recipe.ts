/** PEFT's words (`adapters`, `weights`, `combination_type`) as a recipe, turned into mergekit's. */
import { MergeError } from './errors.ts'
import { type Cursor, child, entries, fail, isPresent, items, kindOf, place, text } from './recipe-cursor.ts'

/** The combinations of `add_weighted_adapter` that are offered. The others average A and B apart, or need an SVD. */
const COMBINATIONS = ['cat']
const KEYS = ['adapters', 'weights', 'combination_type', 'base_model', 'dtype', 'out_dtype', 'output']
const MAX_ADAPTERS = 64

export function isPeftRecipe(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.hasOwn(value, 'adapters')
}

/** Plain value in mergekit's words. RECIPE_INVALID, or MERGE_METHOD_UNKNOWN for another combination type. */
export function peftToMergekit(cursor: Cursor): Record<string, unknown> {
  const found = entries(cursor, (key) =>
    KEYS.includes(key)
      ? undefined
      : `unknown key '${key.slice(0, 80)}': allowed beside 'adapters' are ${KEYS.join(', ')}`,
  )
  const adapters = items(child(cursor, 'adapters'), MAX_ADAPTERS).map((at) => text(at))
  const weights = items(child(cursor, 'weights'), MAX_ADAPTERS).map(readWeight)
  if (weights.length !== adapters.length) {
    fail(child(cursor, 'weights'), `${weights.length} weights for ${adapters.length} adapters`)
  }
  const others = ['base_model', 'dtype', 'out_dtype', 'output'].flatMap((key) => {
    const at = found.get(key)
    return at && isPresent(at) ? [[key, at.value] as const] : []
  })
  return {
    merge_method: readCombination(child(cursor, 'combination_type')),
    models: adapters.map((model, index) => ({ model, parameters: { weight: weights[index] } })),
    ...Object.fromEntries(others),
  }
}

function readCombination(cursor: Cursor): string {
  const name = text(cursor)
  if (COMBINATIONS.includes(name)) return name
  const { line } = place(cursor)
  throw new MergeError(
    'MERGE_METHOD_UNKNOWN',
    `combination_type '${name}' is not offered: known are ${COMBINATIONS.join(', ')}`,
    { method: name, known: COMBINATIONS, ...(line === undefined ? {} : { line }) },
  )
}

function readWeight(cursor: Cursor): number {
  const { value } = cursor
  if (typeof value !== 'number' || !Number.isFinite(value))
    fail(cursor, `expected a finite number, got ${kindOf(value)}`)
  return value
}
