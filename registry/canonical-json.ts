/**
 * JSON with one spelling per value, so that its hash names the value: keys in code point order, no spaces, UTF-8,
 * numbers as ECMAScript prints them.
 */
import { RegistryError } from './errors.ts'
import { compareUtf8 } from './order.ts'

/** Deeper values could overflow the stack of whoever walks them. */
const MAX_DEPTH = 64

/** Throws MANIFEST_INVALID for what JSON cannot hold (NaN, undefined, a Date, ...), naming where it stands. */
export function canonicalJson(value: unknown): string {
  return write(value, '', 0)
}

export function canonicalBytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(canonicalJson(value))
}

function write(value: unknown, where: string, depth: number): string {
  if (depth > MAX_DEPTH) throw invalid(where, `nested deeper than ${MAX_DEPTH}`)
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw invalid(where, `${value} is not a JSON number`)
    return JSON.stringify(value)
  }
  if (Array.isArray(value)) {
    return `[${value.map((item, i) => write(item, `${where}[${i}]`, depth + 1)).join(',')}]`
  }
  if (isPlainObject(value)) return writeObject(value, where, depth)
  throw invalid(where, `${typeof value} is not a JSON value`)
}

function writeObject(value: Record<string, unknown>, where: string, depth: number): string {
  const entries = Object.keys(value)
    .filter((key) => value[key] !== undefined)
    .sort(compareUtf8)
    .map((key) => `${JSON.stringify(key)}:${write(value[key], where === '' ? key : `${where}.${key}`, depth + 1)}`)
  return `{${entries.join(',')}}`
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function invalid(where: string, why: string): RegistryError {
  const field = where === '' ? 'the value' : where.slice(0, 200)
  return new RegistryError('MANIFEST_INVALID', `${field}: ${why}`, { field })
}
