/**
 * A JSON reader (RFC 8259) for files that strangers send: it refuses what `JSON.parse` lets pass, namely a key given
 * twice, text that has no UTF-8 form (lone surrogates), nesting without end, and integers that a double cannot hold.
 */

export type JsonValue = null | boolean | number | string | JsonNumber | JsonValue[] | JsonObject
export type JsonObject = Map<string, JsonValue>

/** A number token that is no integer a double holds exactly, kept as written: 1.5, 1e3, -0, 9007199254740993. */
export class JsonNumber {
  readonly token: string

  constructor(token: string) {
    this.token = token
  }
}

/** Why a text is refused; `at` is the index of the character. Readers turn it into an error of their own. */
export class StrictJsonError extends Error {
  readonly at: number

  constructor(message: string, at: number) {
    super(`${message} at character ${at}`)
    this.name = 'StrictJsonError'
    this.at = at
  }
}

/** What a text may cost before it is refused; each reader knows what its honest files need. */
export interface JsonLimits {
  /** Nesting of objects and arrays. */
  readonly depth: number
  /** Values in the whole text, keys not counted; an object counts as 16, an array as 4, a JsonNumber as 4. */
  readonly values: number
  /** Members of one object. */
  readonly members: number
}

/** Parses a whole text. Objects become Maps, so a key such as `__proto__` is only a key. Throws StrictJsonError. */
export function parseStrictJson(text: string, limits: JsonLimits): JsonValue {
  const reader = new Reader(text, limits)
  const value = reader.value(0)
  reader.finish()
  return value
}

/** The value as `JSON.parse` would have given it: plain objects, plain numbers. */
export function toPlainJson(value: JsonValue): unknown {
  if (value instanceof JsonNumber) return Number(value.token)
  if (Array.isArray(value)) return value.map(toPlainJson)
  if (!(value instanceof Map)) return value
  return Object.fromEntries(Array.from(value, ([key, member]) => [key, toPlainJson(member)]))
}

/** Half a surrogate pair: such a string has no UTF-8 form, so it cannot be written back as it was read. */
export function hasLoneSurrogate(text: string): boolean {
  return /\p{Surrogate}/u.test(text)
}

// What values take in memory, compared to an integer: `{}` has two characters and costs a Map.
const OBJECT_COST = 16
const ARRAY_COST = 4
const NUMBER_COST = 4

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const INTEGER = /^(?:0|-?[1-9][0-9]*)$/

/** A cursor over the text; lives for one parse. */
class Reader {
  private at = 0
  private values = 0
  private readonly text: string
  private readonly limits: JsonLimits

  constructor(text: string, limits: JsonLimits) {
    this.text = text
    this.limits = limits
  }

  value(depth: number): JsonValue {
    this.spend(1)
    this.skipSpace()
    const first = this.text[this.at]
    if (first === '{') return this.object(depth + 1)
    if (first === '[') return this.array(depth + 1)
    if (first === '"') return this.string()
    if (first === 't') return this.literal('true', true)
    if (first === 'f') return this.literal('false', false)
    if (first === 'n') return this.literal('null', null)
    return this.number()
  }

  finish(): void {
    this.skipSpace()
    if (this.at < this.text.length) throw this.error('text after the end of the value')
  }

  private object(depth: number): JsonObject {
    this.enter(depth, OBJECT_COST)
    const members: JsonObject = new Map()
    if (this.accept('}')) return members
    do {
      this.skipSpace()
      const keyAt = this.at
      const key = this.string()
      if (members.has(key)) throw new StrictJsonError(`key ${JSON.stringify(key.slice(0, 200))} given twice`, keyAt)
      if (members.size >= this.limits.members) throw this.error(`more than ${this.limits.members} members in an object`)
      this.expect(':')
      members.set(key, this.value(depth))
    } while (this.accept(','))
    this.expect('}')
    return members
  }

  private array(depth: number): JsonValue[] {
    this.enter(depth, ARRAY_COST)
    const items: JsonValue[] = []
    if (this.accept(']')) return items
    do items.push(this.value(depth))
    while (this.accept(','))
    this.expect(']')
    return items
  }

  private string(): string {
    if (this.text[this.at] !== '"') throw this.error('expected a string')
    const start = this.at++
    let escaped = false
    let ascii = true
    for (;;) {
      const unit = this.text.charCodeAt(this.at)
      if (unit === 0x22) break
      if (Number.isNaN(unit)) throw this.error('string without an end')
      if (unit < 0x20) throw this.error('control character in a string')
      if (unit === 0x5c) {
        escaped = true
        this.at++
      } else if (unit > 0x7f) ascii = false
      this.at++
    }
    this.at++
    const result = escaped ? this.unescape(start) : this.text.slice(start + 1, this.at - 1)
    if ((escaped || !ascii) && hasLoneSurrogate(result)) throw this.error('half a surrogate pair in a string')
    return result
  }

  /** The string from its opening quote to the cursor. */
  private unescape(start: number): string {
    try {
      return JSON.parse(this.text.slice(start, this.at)) as string
    } catch {
      throw new StrictJsonError('bad escape in the string', start)
    }
  }

  private number(): number | JsonNumber {
    NUMBER.lastIndex = this.at
    const token = NUMBER.exec(this.text)?.[0]
    if (token === undefined) throw this.error('expected a value')
    this.at += token.length
    const number = Number(token)
    if (INTEGER.test(token) && Number.isSafeInteger(number)) return number
    this.spend(NUMBER_COST - 1)
    return new JsonNumber(token)
  }

  private literal<T extends boolean | null>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.at)) throw this.error('expected a value')
    this.at += word.length
    return value
  }

  private spend(cost: number): void {
    this.values += cost
    if (this.values > this.limits.values) throw this.error(`more than ${this.limits.values} values`)
  }

  private enter(depth: number, cost: number): void {
    if (depth > this.limits.depth) throw this.error(`nesting deeper than ${this.limits.depth}`)
    this.spend(cost - 1)
    this.at++
  }

  private accept(character: string): boolean {
    this.skipSpace()
    if (this.text[this.at] !== character) return false
    this.at++
    return true
  }

  private expect(character: string): void {
    if (!this.accept(character)) throw this.error(`expected '${character}'`)
  }

  private skipSpace(): void {
    for (;;) {
      const unit = this.text.charCodeAt(this.at)
      if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return
      this.at++
    }
  }

  private error(message: string): StrictJsonError {
    return new StrictJsonError(message, this.at)
  }
}
