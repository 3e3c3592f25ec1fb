/**
 * Orders tensor names by Unicode code point, as Python's `sorted` does, so that "the tensors in name order" means
 * the same thing here and in any other implementation. JavaScript's own `<` compares UTF-16 units, which puts
 * U+1F600 before U+FF5E. Returns a number below, at or above 0, for use with `Array.prototype.sort`.
 */
export function compareNames(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const left = a.charCodeAt(i)
    const right = b.charCodeAt(i)
    if (left !== right) return rank(left) - rank(right)
  }
  return a.length - b.length
}

/** Moves the surrogates (one half of a code point above U+FFFF) behind every other unit. */
function rank(unit: number): number {
  const isSurrogate = unit >= 0xd800 && unit <= 0xdfff
  return isSurrogate ? unit + 0x10000 : unit
}
