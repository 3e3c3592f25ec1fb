/** Changes to JSON: to its values, then to the text of its tokens, which no value can express. */
import { type Dice, EDGES } from './dice.ts'
import { mutateBytes } from './mutate-bytes.ts'

/** A place in a JSON value: `holder[key]`. */
interface Place {
  readonly holder: Record<string, unknown> | unknown[]
  readonly key: string | number
}

/** A changed copy. */
export function mutateJson(dice: Dice, value: unknown, count = dice.between(1, 2)): unknown {
  const root = { value: copy(value) }
  for (let i = 0; i < count; i++) changeOne(dice, root)
  return root.value
}

function changeOne(dice: Dice, root: Record<string, unknown>): void {
  const places = placesIn(root, [])
  const place = dice.pick(places)
  const node = get(place)
  const container = typeof node === 'object' && node !== null
  // What holds others is few among many: otherwise nearly all changes would be to leaves.
  if (container && dice.chance(0.7)) changeContainer(dice, node as Record<string, unknown> | unknown[], places)
  else if (dice.chance(0.15)) set(place, copy(get(dice.pick(places))))
  else set(place, otherValue(dice, node))
}

function placesIn(holder: Record<string, unknown> | unknown[], places: Place[]): Place[] {
  const keys = Array.isArray(holder) ? holder.keys() : Object.keys(holder)
  for (const key of keys) {
    const place = { holder, key }
    places.push(place)
    const value = get(place)
    if (typeof value === 'object' && value !== null) placesIn(value as Record<string, unknown>, places)
  }
  return places
}

function get({ holder, key }: Place): unknown {
  return Object.hasOwn(holder, key) ? (holder as Record<string | number, unknown>)[key] : undefined
}

/** structuredClone for plain values, several times as fast. */
function copy(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(copy)
  const made = {}
  for (const key of Object.keys(value)) set({ holder: made, key }, copy((value as Record<string, unknown>)[key]))
  return made
}

function set({ holder, key }: Place, value: unknown): void {
  if (key !== '__proto__') (holder as Record<string | number, unknown>)[key] = value
  else Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true })
}

function changeContainer(dice: Dice, node: Record<string, unknown> | unknown[], places: readonly Place[]): void {
  const donor = copy(get(dice.pick(places)))
  if (!Array.isArray(node)) {
    changeObject(dice, node, donor)
    return
  }
  const at = dice.below(node.length + 1)
  const action = dice.below(6)
  if (action === 0) node.splice(at, dice.length(4))
  else if (action === 1) node.splice(at, 0, donor)
  else if (action === 2) node.splice(at, 0, copy(node[dice.below(node.length)]))
  else if (action === 3) node.length = at
  else if (action === 4) for (let i = dice.length(64); i > 0; i--) node.push(copy(node.at(-1) ?? 0))
  else if (node.length > 1) {
    const other = dice.below(node.length)
    const from = dice.below(node.length)
    ;[node[other], node[from]] = [node[from], node[other]]
  }
}

function changeObject(dice: Dice, node: Record<string, unknown>, donor: unknown): void {
  const keys = Object.keys(node)
  const key = dice.pick([...keys, ...keys, ...ODD_STRINGS])
  const place = { holder: node, key }
  const action = dice.below(4)
  if (action === 0) delete node[key]
  else if (action === 1) set(place, donor)
  else if (action === 2 && keys.length > 0) {
    const renamed = dice.pick(keys)
    set(place, node[renamed])
    if (renamed !== key) delete node[renamed]
  } else set(place, otherValue(dice, get(place)))
}

const ODD_STRINGS = [
  '',
  '.',
  'a',
  'a.b.',
  '__proto__',
  'constructor',
  'toString',
  'length',
  '\u0000',
  '\ud800',
  '\udc00x',
  '😀',
  '0',
  '-1',
  'null',
  'F16',
  'F4',
  'I8',
  'x'.repeat(1025),
  '𝒳'.repeat(300),
]

/** Deep brackets: what recursion pays for. */
function nest(dice: Dice): unknown {
  let value: unknown = 0
  for (let depth = dice.pick([3, 31, 32, 33, 100]); depth > 0; depth--)
    value = dice.chance(0.7) ? [value] : { a: value }
  return value
}

function otherValue(dice: Dice, value: unknown): unknown {
  if (typeof value === 'number' && dice.chance(0.6)) return otherNumber(dice, value)
  if (typeof value === 'string' && dice.chance(0.5)) return otherText(dice, value)
  const action = dice.below(9)
  if (action === 0) return dice.pick(EDGES)
  if (action === 1) return -dice.pick(EDGES)
  if (action === 2) return dice.pick([0.5, 1.5, -0.25, 1e300, 1e-7])
  if (action === 3) return dice.pick([true, false, null])
  if (action === 4) return dice.pick(ODD_STRINGS)
  if (action === 5) return dice.chance(0.5) ? [] : {}
  if (action === 6) return nest(dice)
  if (action === 7) return [value, value]
  return otherNumber(dice, typeof value === 'number' ? value : 1)
}

function otherNumber(dice: Dice, value: number): number {
  return dice.pick([value + 1, value - 1, value * 2, Math.floor(value / 2), value + 8, -value, dice.pick(EDGES), 0])
}

function otherText(dice: Dice, value: string): string {
  const at = dice.below(value.length + 1)
  return dice.pick([
    value + dice.pick(ODD_STRINGS),
    dice.pick(ODD_STRINGS) + value,
    value.slice(0, at),
    value.slice(at),
    value + value,
    value.slice(0, at) + dice.pick(['.', '\u0000', 'é', '\ud83d', '+', '@', '/']) + value.slice(at),
    value.toUpperCase(),
  ])
}

const ODD_TOKENS = [
  '1.0',
  '1e3',
  '-0',
  '01',
  '+1',
  '1.',
  '.5',
  '1e400',
  '-',
  '9007199254740993',
  'NaN',
  'Infinity',
  'tru',
  'nul',
  '"\\ud800"',
  '"\\u00"',
  '"\\x"',
  '"\u0001"',
  '"',
  '\\',
  ',',
  ':',
  '{',
  '}',
  '[',
  ']',
  ',,',
  '\ufeff',
  '\u00a0',
  '// x\n',
  '/**/',
  "'a'",
  '{"a":1,"a":2}',
  '{"__proto__":[]}',
]

/** Changes that leave the tokens' grammar behind. */
export function mutateJsonText(dice: Dice, text: string, count = dice.between(1, 2)): string {
  let changed = text
  for (let i = 0; i < count; i++) changed = changeText(dice, changed)
  return changed
}

function changeText(dice: Dice, text: string): string {
  const at = dice.below(text.length + 1)
  const action = dice.below(6)
  if (action === 0) return text.slice(0, at) + dice.pick(ODD_TOKENS) + text.slice(at + dice.below(3))
  if (action === 1) return replaceNumber(dice, text)
  if (action === 2) return repeatMember(dice, text)
  if (action === 3) {
    const open = dice.pick(['[', '{"a":', '[[', '[{"":'])
    return text.slice(0, at) + open.repeat(dice.pick([1, 4, 33, 3000])) + text.slice(at)
  }
  if (action === 4) return text.slice(0, at) + dice.pick([' ', '\n', '\t', '\r', '\f', '\u2028']) + text.slice(at)
  return decoder.decode(mutateBytes(dice, encoder.encode(text), encoder.encode(text.slice(at)), 1))
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

function replaceNumber(dice: Dice, text: string): string {
  const numbers = [...text.matchAll(/-?\d+/g)]
  if (numbers.length === 0) return dice.pick(ODD_TOKENS)
  const { 0: token, index } = dice.pick(numbers)
  return text.slice(0, index) + dice.pick(ODD_TOKENS) + text.slice(index + token.length)
}

/** The same key twice, when it hits a member. */
function repeatMember(dice: Dice, text: string): string {
  const members = [...text.matchAll(/"[^"]*":(?:"[^"]*"|[\d.]+|\[[^[\]{}]*\]|\{[^{}]*\})/g)]
  if (members.length === 0) return text + text
  const { 0: member, index } = dice.pick(members)
  return `${text.slice(0, index)}${member},${text.slice(index)}`
}
