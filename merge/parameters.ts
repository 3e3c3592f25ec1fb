/** Parameter values of a recipe: scalars, gradients over the layers, and filters over tensor names. */
import { type Cursor, entries, fail, items, kindOf, place, type RecipePlace } from './recipe-cursor.ts'

/** Stops a recipe from asking for more filters or gradient points than a model has layers or tensors. */
const MAX_LIST = 4096

export type ParameterValue = number | boolean
/** One value, or a gradient: values at evenly spaced depths, the first at the first layer. */
export type ParameterSetting = ParameterValue | readonly ParameterValue[]

/** `filter` is a substring of the tensor name; null (or `*` in the recipe) matches every tensor. */
export interface ParameterCondition {
  readonly filter: string | null
  readonly value: ParameterSetting
}

export interface ParameterEntry {
  readonly conditions: readonly ParameterCondition[]
  readonly place: RecipePlace
}

export type ParameterMap = ReadonlyMap<string, ParameterEntry>

export function readParameters(cursor: Cursor, known: (name: string) => string | undefined): ParameterMap {
  const parameters = new Map<string, ParameterEntry>()
  for (const [name, at] of entries(cursor, known)) {
    parameters.set(name, { conditions: readConditions(at), place: place(at) })
  }
  return parameters
}

/** Every value that a parameter can take, for range checks that need no tensor name. */
export function allValues(entry: ParameterEntry): ParameterValue[] {
  return entry.conditions.flatMap(({ value }) => (Array.isArray(value) ? value : [value]) as ParameterValue[])
}

/**
 * The value for one tensor, or undefined when no filter matches. `depth` in 0..1 is the tensor's place among the
 * layers. Numbers are interpolated linearly between the two nearest points, truth values are picked.
 */
export function parameterFor(entry: ParameterEntry, tensor: string, depth: number): ParameterValue | undefined {
  const hit = entry.conditions.find(({ filter }) => filter === null || tensor.includes(filter))
  if (!hit) return undefined
  return Array.isArray(hit.value) ? gradientAt(hit.value, depth) : (hit.value as ParameterValue)
}

function gradientAt(values: readonly ParameterValue[], depth: number): ParameterValue {
  const scaled = depth * (values.length - 1)
  const low = Math.trunc(scaled)
  const first = values[low]!
  const second = values[Math.min(low + 1, values.length - 1)]!
  if (typeof first === 'boolean' || typeof second === 'boolean') return first
  const fraction = scaled - low
  return (1 - fraction) * first + fraction * second
}

function readConditions(cursor: Cursor): ParameterCondition[] {
  const { value } = cursor
  if (Array.isArray(value) && value.some((item) => typeof item === 'object' && item !== null)) {
    return items(cursor, MAX_LIST).map(readCondition)
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return [readCondition(cursor)]
  return [{ filter: null, value: readSetting(cursor) }]
}

function readCondition(cursor: Cursor): ParameterCondition {
  const found = entries(cursor, (key) =>
    key === 'filter' || key === 'value' ? undefined : `unknown key '${key}': a condition has 'filter' and 'value'`,
  )
  const value = found.get('value')
  if (!value) fail(cursor, "'value' is missing")
  const filter = found.get('filter')?.value ?? null
  if (filter !== null && typeof filter !== 'string') fail(cursor, `'filter' must be text, got ${kindOf(filter)}`)
  return { filter: filter === '*' ? null : filter, value: readSetting(value) }
}

function readSetting(cursor: Cursor): ParameterSetting {
  return Array.isArray(cursor.value) ? items(cursor, MAX_LIST).map(readValue) : readValue(cursor)
}

function readValue(cursor: Cursor): ParameterValue {
  const { value } = cursor
  if (typeof value === 'boolean') return value
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  if (typeof number !== 'number' || !Number.isFinite(number)) {
    fail(cursor, `expected a finite number or true/false, got ${kindOf(value)}`)
  }
  return number
}
