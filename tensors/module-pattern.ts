/**
 * PEFT's rank_pattern and alpha_pattern: each key is a Python regular expression K, and a module belongs to the
 * first key for which `(.*\.)?(K)$` matches its whole name. The keys come from uploaded files, and a backtracking
 * engine can be made to run for years on `(a+)+`, so they are simulated as automata (Thompson 1968) in time
 * proportional to pattern times name. Look-around and back-references, which need backtracking, are refused.
 */

/** Stops a table with more entries than any model has modules. */
const MAX_PATTERNS = 10_000
/** Stops keys that are longer than any module path. */
const MAX_KEY_LENGTH = 512
/** Bounds the work per character of a module's name of all keys together that are not plain names. */
const MAX_STATES = 4096
/** Bounds the work for all modules of a model to a few seconds. */
const MAX_STEPS = 30_000_000

/** Why a key cannot be used. */
export class PatternError extends Error {}

export interface ModulePatterns {
  /** The number of the first key that matches the module, or undefined. Throws PatternError when it gets too costly. */
  find(module: string): number | undefined
}

/** Throws PatternError naming the key. */
export function compilePatterns(pattern: Readonly<Record<string, number>>): ModulePatterns {
  const entries = Object.entries(pattern)
  if (entries.length > MAX_PATTERNS) throw new PatternError(`${entries.length} keys; at most ${MAX_PATTERNS} are read`)
  const budget = { states: MAX_STATES, steps: MAX_STEPS }
  const rules = entries.map(([key, value]) => ({ value, matches: matcher(key, budget) }))
  const found = new Map<string, number | undefined>()
  const find = (module: string) => {
    if (!found.has(module)) found.set(module, rules.find((rule) => rule.matches(module))?.value)
    return found.get(module)
  }
  return { find }
}

/** What is left of the limits; shared by all keys of a table. */
interface Budget {
  states: number
  steps: number
}

function matcher(key: string, budget: Budget): (module: string) => boolean {
  if (PLAIN_KEY.test(key)) return (module) => endsWithKey(module, key)
  const program = compile(key)
  budget.states -= program.length
  if (budget.states < 0) throw new PatternError(`the patterns up to ${JSON.stringify(key)} are too complex`)
  return (module) => run(program, module, budget)
}

/** A module name or its end. Its dots are, strictly, wildcards. */
const PLAIN_KEY = /^[\w.-]+$/

function endsWithKey(module: string, key: string): boolean {
  const start = module.length - key.length
  if (start < 0 || (start > 0 && module[start - 1] !== '.')) return false
  for (let i = 0; i < key.length; i++) {
    if (key[i] !== '.' && key[i] !== module[start + i]) return false
  }
  return true
}

type CharTest = (unit: string) => boolean

type Node =
  | { readonly kind: 'test'; readonly test: CharTest }
  | { readonly kind: 'start' | 'end' }
  | { readonly kind: 'sequence' | 'choice'; readonly parts: readonly Node[] }
  | { readonly kind: 'repeat'; readonly part: Node; readonly min: number; readonly max: number }

/** One state; `next` are indices. A state without a test is passed without reading a character. */
interface State {
  readonly test?: CharTest
  readonly only?: 'start' | 'end'
  next: number[]
}

function compile(key: string): State[] {
  if (key.length > MAX_KEY_LENGTH) {
    throw new PatternError(`a key of ${key.length} characters; at most ${MAX_KEY_LENGTH} are read`)
  }
  const program: State[] = []
  const exits = emit(new PatternParser(key).parse(), program)
  patch(program, exits, add(program, { next: [] }))
  return program
}

function add(program: State[], state: State): number {
  if (program.length >= MAX_STATES) throw new PatternError(`a pattern needs more than ${MAX_STATES} states`)
  return program.push(state) - 1
}

function patch(program: State[], exits: readonly number[], target: number): void {
  for (const exit of exits) program[exit]!.next.push(target)
}

/** Appends the states of a node; they are entered at the first one appended. Returns those that lead out of it. */
function emit(node: Node, program: State[]): number[] {
  switch (node.kind) {
    case 'test':
      return [add(program, { test: node.test, next: [] })]
    case 'start':
    case 'end':
      return [add(program, { only: node.kind, next: [] })]
    case 'sequence': {
      let exits = [add(program, { next: [] })]
      for (const part of node.parts) {
        patch(program, exits, program.length)
        exits = emit(part, program)
      }
      return exits
    }
    case 'choice': {
      const fork = add(program, { next: [] })
      return node.parts.flatMap((part) => {
        patch(program, [fork], program.length)
        return emit(part, program)
      })
    }
    case 'repeat':
      return emitRepeat(node.part, node.min, node.max, program)
  }
}

function emitRepeat(part: Node, min: number, max: number, program: State[]): number[] {
  let exits = [add(program, { next: [] })]
  for (let i = 0; i < min; i++) {
    patch(program, exits, program.length)
    exits = emit(part, program)
  }
  const fork = add(program, { next: [] })
  patch(program, exits, fork)
  if (max === Number.POSITIVE_INFINITY) {
    patch(program, [fork], program.length)
    patch(program, emit(part, program), fork)
    return [fork]
  }
  const out = [fork]
  let from = [fork]
  for (let i = min; i < max; i++) {
    patch(program, from, program.length)
    from = emit(part, program)
    out.push(...from)
  }
  return out
}

/** Whether `(.*\.)?(program)$` matches the name: a match may start at its beginning and after every dot. */
function run(program: readonly State[], name: string, budget: Budget): boolean {
  let current = new Set<number>()
  for (let at = 0; ; at++) {
    if (at === 0 || name[at - 1] === '.') current.add(0)
    const reached = follow(program, current, at, name.length)
    budget.steps -= reached.size
    if (budget.steps < 0) throw new PatternError('the patterns are too costly for the names of this model')
    if (at === name.length) return reached.has(program.length - 1)
    current = new Set()
    for (const index of reached) {
      const { test, next } = program[index]!
      if (test?.(name[at]!)) for (const target of next) current.add(target)
    }
  }
}

/** All states reachable without reading a character. */
function follow(program: readonly State[], from: ReadonlySet<number>, at: number, length: number): Set<number> {
  const reached = new Set(from)
  // A Set's iterator also visits what is added while it runs.
  for (const index of reached) {
    const { test, only, next } = program[index]!
    const open = !test && (only === undefined || at === (only === 'start' ? 0 : length))
    if (open) for (const target of next) reached.add(target)
  }
  return reached
}

const DIGIT: CharTest = (unit) => /\d/.test(unit)
const WORD: CharTest = (unit) => /[\p{L}\p{N}_]/u.test(unit)
const SPACE: CharTest = (unit) => /\s/.test(unit)
const CLASSES: Readonly<Record<string, CharTest>> = {
  d: DIGIT,
  D: (unit) => !DIGIT(unit),
  w: WORD,
  W: (unit) => !WORD(unit),
  s: SPACE,
  S: (unit) => !SPACE(unit),
}

/** Recursive descent over the part of Python's `re` syntax that an automaton can run. Lives for one parse. */
class PatternParser {
  private at = 0
  private readonly key: string

  constructor(key: string) {
    this.key = key
  }

  parse(): Node {
    const node = this.choice()
    if (this.at < this.key.length) throw this.refuse('has a ) without its (')
    return node
  }

  private choice(): Node {
    const parts = [this.sequence()]
    while (this.accept('|')) parts.push(this.sequence())
    return parts.length === 1 ? parts[0]! : { kind: 'choice', parts }
  }

  private sequence(): Node {
    const parts: Node[] = []
    while (this.at < this.key.length && !'|)'.includes(this.key[this.at]!)) parts.push(this.repeated(this.atom()))
    return { kind: 'sequence', parts }
  }

  private repeated(part: Node): Node {
    const bounds = this.quantifier()
    if (!bounds) return part
    this.accept('?') // lazy or greedy makes no difference to whether the whole matches
    if (this.quantifier()) throw this.refuse('has a quantifier after a quantifier')
    const [min, max] = bounds
    if (max < min) throw this.refuse(`repeats from ${min} to ${max}`)
    return { kind: 'repeat', part, min, max }
  }

  private quantifier(): [number, number] | undefined {
    if (this.accept('*')) return [0, Number.POSITIVE_INFINITY]
    if (this.accept('+')) return [1, Number.POSITIVE_INFINITY]
    if (this.accept('?')) return [0, 1]
    const braces = /^\{(\d*)(?:(,)(\d*))?\}/.exec(this.key.slice(this.at))
    // As in Python, braces that hold no bounds are ordinary characters.
    if (!braces || (braces[1] === '' && braces[2] === undefined)) return undefined
    this.at += braces[0].length
    const min = Number(braces[1])
    if (braces[2] === undefined) return [min, min]
    return [min, braces[3] === '' ? Number.POSITIVE_INFINITY : Number(braces[3])]
  }

  private atom(): Node {
    const unit = this.key[this.at++]!
    if (unit === '(') return this.group()
    if (unit === '[') return { kind: 'test', test: this.characterClass() }
    if (unit === '.') return { kind: 'test', test: (other) => other !== '\n' }
    if (unit === '^') return { kind: 'start' }
    if (unit === '$') return { kind: 'end' }
    if (unit === '\\') return { kind: 'test', test: this.escape() }
    if ('*+?'.includes(unit)) throw this.refuse('has a quantifier with nothing to repeat')
    return { kind: 'test', test: (other) => other === unit }
  }

  private group(): Node {
    if (this.accept('?') && !this.accept(':')) throw this.refuse('uses a (? group other than (?:')
    const node = this.choice()
    if (!this.accept(')')) throw this.refuse('has a ( without its )')
    return node
  }

  private escape(): CharTest {
    const unit = this.key[this.at++] ?? ''
    const known = Object.hasOwn(CLASSES, unit) ? CLASSES[unit] : undefined
    if (known) return known
    if (unit === '' || /[a-zA-Z0-9]/.test(unit)) throw this.refuse(`uses the escape \\${unit}`)
    return (other) => other === unit
  }

  private characterClass(): CharTest {
    const negated = this.accept('^')
    const tests: CharTest[] = []
    while (tests.length === 0 || this.key[this.at] !== ']') tests.push(this.classMember())
    this.at++
    return (unit) => tests.some((test) => test(unit)) !== negated
  }

  private classMember(): CharTest {
    const low = this.key[this.at++]
    if (low === undefined) throw this.refuse('has a [ without its ]')
    if (low === '\\') return this.escape()
    if (this.key[this.at] !== '-' || (this.key[this.at + 1] ?? ']') === ']') return (unit) => unit === low
    const high = this.key[this.at + 1]!
    if (high === '\\' || high < low) throw this.refuse(`has the range ${low}-${high}`)
    this.at += 2
    return (unit) => unit >= low && unit <= high
  }

  private accept(unit: string): boolean {
    if (this.key[this.at] !== unit) return false
    this.at++
    return true
  }

  private refuse(why: string): PatternError {
    return new PatternError(`the pattern ${JSON.stringify(this.key)} ${why}`)
  }
}
