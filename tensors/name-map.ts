/**
 * Finds the base's name for an expert's tensor. The same layer is `bert.encoder.x` in a checkpoint with a head and
 * `encoder.x` in one without; which prefix is meant is learnt from the names themselves, and it is one for all.
 */
import { compareNames } from './compare-names.ts'

/** What is done to an expert's name; an empty prefix with `strip` changes nothing. */
interface PrefixRule {
  readonly kind: 'strip' | 'add'
  readonly prefix: string
}

/**
 * Maps expert tensor names to base tensor names. A name the base has is itself; any other goes through the prefix
 * (whole dotted parts, stripped or added) that gives the most names a partner, the shortest where several do.
 * Undefined for a name without a partner, and where the partner already belongs to a name the base has.
 */
export function matchBaseNames(
  names: readonly string[],
  baseNames: readonly string[],
): (name: string) => string | undefined {
  const base = new Set(baseNames)
  const rule = learnPrefix(
    names.filter((name) => !base.has(name)),
    base,
  )
  const own = new Set(names)
  return (name) => {
    if (base.has(name)) return name
    const mapped = rule && applyRule(rule, name)
    return mapped !== undefined && base.has(mapped) && !own.has(mapped) ? mapped : undefined
  }
}

function applyRule({ kind, prefix }: PrefixRule, name: string): string | undefined {
  if (kind === 'add') return prefix + name
  return name.startsWith(prefix) ? name.slice(prefix.length) : undefined
}

function learnPrefix(unmatched: readonly string[], base: ReadonlySet<string>): PrefixRule | undefined {
  const votes = new Map<string, { rule: PrefixRule; count: number }>()
  const vote = (kind: PrefixRule['kind'], prefix: string) => {
    const key = `${kind} ${prefix}`
    const entry = votes.get(key) ?? { rule: { kind, prefix }, count: 0 }
    entry.count++
    votes.set(key, entry)
  }
  for (const name of unmatched) {
    for (const cut of cutsAfterDots(name)) if (base.has(name.slice(cut))) vote('strip', name.slice(0, cut))
  }
  const wanted = new Set(unmatched)
  for (const name of base) {
    for (const cut of cutsAfterDots(name)) if (wanted.has(name.slice(cut))) vote('add', name.slice(0, cut))
  }
  const ranked = [...votes.values()].sort(
    (a, b) =>
      b.count - a.count ||
      a.rule.prefix.length - b.rule.prefix.length ||
      compareNames(a.rule.kind + a.rule.prefix, b.rule.kind + b.rule.prefix),
  )
  return ranked[0]?.rule
}

function* cutsAfterDots(name: string): Generator<number> {
  for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) yield dot + 1
}
