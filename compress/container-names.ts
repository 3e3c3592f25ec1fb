/**
 * Tensor names in the table. Names of one model share their beginnings, segment by segment ("a.b.c" has three), so each
 * is stored as the number of segments it shares with the name before it, and the rest. FORMAT.md, "Names".
 */
import { hasLoneSurrogate } from '../tensors/strict-json.ts'
import { invalid, MAX_NAME_BYTES, MAX_NAMES_BYTES } from './container-layout.ts'

export interface NameColumns {
  /** For each name, how many leading segments (with their dots) come from the name before it. */
  readonly shared: readonly number[]
  /** For each name, what follows them. */
  readonly rest: readonly string[]
}

/** Expert names to base names: 'same', or a map of those that differ. */
export type BaseNames = 'same' | Readonly<Record<string, string>>

/** In the table: one prefix exchanged for another where that says it all, else the pairs. Absent for 'same'. */
export type StoredBaseNames =
  | { readonly strip: string; readonly add: string }
  | { readonly map: Record<string, string> }

export function encodeNames(names: readonly string[]): NameColumns {
  checkNames(names)
  const shared: number[] = []
  const rest: string[] = []
  let previous = ''
  for (const name of names) {
    const { segments, length } = sharedSegments(previous, name)
    shared.push(segments)
    rest.push(name.slice(length))
    previous = name
  }
  return { shared, rest }
}

/** The dots in the longest common beginning of two names, and the offset after the last of them. */
function sharedSegments(a: string, b: string): { segments: number; length: number } {
  let segments = 0
  let length = 0
  for (let i = 0; i < a.length && a[i] === b[i]; i++) {
    if (a[i] !== '.') continue
    segments++
    length = i + 1
  }
  return { segments, length }
}

/** @throws CompressError CONTAINER_INVALID: more shared segments than there are, names too long, names that repeat. */
export function decodeNames({ shared, rest }: NameColumns): string[] {
  const names: string[] = []
  let total = 0
  let previous = ''
  for (const [i, segments] of shared.entries()) {
    const name = leadingSegments(previous, segments, i) + rest[i]!
    total += checkedLength(name)
    // Before the name is kept: an attacker pays one byte for a name of a kilobyte.
    if (total > MAX_NAMES_BYTES) throw invalid(`tensor names of more than ${MAX_NAMES_BYTES} bytes in all`)
    names.push(name)
    previous = name
  }
  checkUnique(names)
  return names
}

function leadingSegments(name: string, segments: number, tensor: number): string {
  let length = 0
  for (let i = 0; i < segments; i++) {
    const dot = name.indexOf('.', length)
    if (dot < 0) throw invalid(`tensor ${tensor} shares ${segments} name segments with a name that has fewer`)
    length = dot + 1
  }
  return name.slice(0, length)
}

/** What a writer is given: the same limits, and text that has a UTF-8 form. */
function checkNames(names: readonly string[]): void {
  let total = 0
  for (const name of names) {
    if (hasLoneSurrogate(name)) throw invalid(`the tensor name ${JSON.stringify(name)} has a lone surrogate`, { name })
    total += checkedLength(name)
  }
  if (total > MAX_NAMES_BYTES) throw invalid(`tensor names of ${total} bytes in all; the most is ${MAX_NAMES_BYTES}`)
  checkUnique(names)
}

function checkedLength(name: string): number {
  const bytes = utf8.encode(name).length
  if (bytes > MAX_NAME_BYTES)
    throw invalid(`a tensor name of ${bytes} bytes; the most is ${MAX_NAME_BYTES}: ${name.slice(0, 80)}...`)
  return bytes
}

const utf8 = new TextEncoder()

function checkUnique(names: readonly string[]): void {
  const seen = new Set<string>()
  for (const name of names) {
    if (seen.has(name)) throw invalid(`two tensors are named ${name}`, { tensor: name })
    seen.add(name)
  }
}

/** undefined for 'same': nothing is stored. */
export function encodeBaseNames(names: readonly string[], baseNames: BaseNames): StoredBaseNames | undefined {
  if (baseNames === 'same') return undefined
  const map = new Map(Object.entries(baseNames).filter(([name, base]) => name !== base))
  if (map.size === 0) return undefined
  return asPrefix(names, map) ?? { map: Object.fromEntries(map) }
}

/** The exchange of prefixes that the first pair suggests, if it gives exactly these pairs. */
function asPrefix(names: readonly string[], map: ReadonlyMap<string, string>): StoredBaseNames | undefined {
  const [name, base] = [...map][0]!
  let common = 0
  while (common < Math.min(name.length, base.length) && name.at(-1 - common) === base.at(-1 - common)) common++
  const rule = { strip: name.slice(0, name.length - common), add: base.slice(0, base.length - common) }
  const made = exchangePrefix(names, rule)
  if (made.size !== map.size) return undefined
  return [...map].every(([expert, wanted]) => made.get(expert) === wanted) ? rule : undefined
}

function exchangePrefix(names: readonly string[], { strip, add }: { strip: string; add: string }): Map<string, string> {
  const beginning = names.filter((name) => name.startsWith(strip))
  return new Map(beginning.map((name) => [name, add + name.slice(strip.length)]))
}

/** Before the names are made: a long `add` is paid for once and repeated for each of them. */
function checkExchanged(names: readonly string[], { strip, add }: { strip: string; add: string }): void {
  const added = utf8.encode(add).length - utf8.encode(strip).length
  let total = 0
  for (const name of names) if (name.startsWith(strip)) total += utf8.encode(name).length + added
  if (total > MAX_NAMES_BYTES) throw invalid(`base_names makes ${total} bytes of names; the most is ${MAX_NAMES_BYTES}`)
}

/** @throws CompressError CONTAINER_INVALID */
export function decodeBaseNames(names: readonly string[], stored: StoredBaseNames | undefined): BaseNames {
  if (stored === undefined) return 'same'
  if ('map' in stored) return stored.map
  checkExchanged(names, stored)
  return Object.fromEntries(exchangePrefix(names, stored))
}
