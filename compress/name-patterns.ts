/**
 * Patterns over tensor names, for `include` and `exclude`. With `*` (any run of characters, dots included) or `?` (one
 * character) a pattern matches the whole name; without them it matches a run of whole dotted segments, so
 * `classifier` matches `base_model.model.classifier.weight` and `layer.1` does not match `layer.10.weight`.
 * No regular expressions: matching takes at most |pattern| * |name| steps, whatever a request says.
 */
const MAX_PATTERNS = 64
const MAX_LENGTH = 256

/** What is wrong with a list of patterns, or undefined. */
export function checkPatterns(patterns: readonly string[]): string | undefined {
  if (patterns.length > MAX_PATTERNS) return `at most ${MAX_PATTERNS} patterns`
  if (patterns.some((pattern) => pattern === '' || pattern.length > MAX_LENGTH)) {
    return `patterns of 1 to ${MAX_LENGTH} characters`
  }
  return undefined
}

export function matchesAny(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => matches(pattern, name))
}

function matches(pattern: string, name: string): boolean {
  if (pattern.includes('*') || pattern.includes('?')) return matchesGlob(pattern, name)
  return `.${name}.`.includes(`.${pattern}.`)
}

/** Greedy with one point to return to: the last star seen. */
function matchesGlob(pattern: string, name: string): boolean {
  let p = 0
  let star = -1
  let resume = 0
  for (let n = 0; n < name.length; ) {
    if (pattern[p] === '*') {
      star = p++
      resume = n
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === name[n])) {
      p++
      n++
    } else if (star >= 0) {
      p = star + 1
      n = ++resume
    } else return false
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}
