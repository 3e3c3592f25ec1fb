/** camelCase inside, snake_case outside: keys are mapped once, on the way out. */

/**
 * Plain JSON with every key in snake_case, at any depth. For values whose keys are field names of ours: never for maps
 * keyed by names of tensors or files.
 */
export function snakeCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snakeCase)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [snakeKey(key), snakeCase(item)]))
}

export function snakeKey(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}
