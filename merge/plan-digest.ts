/** The digest of a plan: equal digests mean equal output bytes, so it is the key under which results are kept. */
import { createHash } from 'node:crypto'

/** Raised whenever the same plan would give other bytes than before. */
export const ENGINE_VERSION = 'tern-merge-1'

/** `sha256:<hex>` of the value as canonical JSON: keys sorted, no white space. Values are plain JSON. */
export function planDigest(value: unknown): string {
  return `sha256:${createHash('sha256').update(canonicalJson(value)).digest('hex')}`
}

/** As JSON.stringify, with the keys of every object in code-unit order and -0 kept apart from 0. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const pairs = Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${pairs.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(',')}}`
  }
  return Object.is(value, -0) ? '-0' : JSON.stringify(value ?? null)
}
