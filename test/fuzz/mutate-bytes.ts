/** Changes to plain bytes: what knows nothing of their meaning. */
import { type Dice, EDGES } from './dice.ts'

type Mutation = (dice: Dice, bytes: Uint8Array, other: Uint8Array) => Uint8Array

/** `count` changes, one after another. `other` is material to splice in. The input is left as it is. */
export function mutateBytes(dice: Dice, bytes: Uint8Array, other: Uint8Array, count = dice.between(1, 3)): Uint8Array {
  let changed = bytes
  for (let i = 0; i < count; i++) changed = dice.pick(MUTATIONS)(dice, changed, other)
  return changed
}

export function splice(bytes: Uint8Array, start: number, removed: number, inserted: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length - removed + inserted.length)
  out.set(bytes.subarray(0, start))
  out.set(inserted, start)
  out.set(bytes.subarray(start + removed), start + inserted.length)
  return out
}

/** A copy with one place overwritten, as far as it reaches. */
function overwrite(bytes: Uint8Array, at: number, by: Uint8Array): Uint8Array {
  const copy = bytes.slice()
  copy.set(by.subarray(0, Math.max(0, copy.length - at)), Math.min(at, copy.length))
  return copy
}

function range(dice: Dice, length: number): [start: number, count: number] {
  const count = Math.min(length, dice.length(Math.max(1, length)))
  return [dice.below(length - count + 1), count]
}

const flipBit: Mutation = (dice, bytes) => {
  const copy = bytes.slice()
  if (copy.length > 0) copy[dice.below(copy.length)]! ^= 1 << dice.below(8)
  return copy
}

const setByte: Mutation = (dice, bytes) => {
  const copy = bytes.slice()
  const value = dice.pick([0, 1, 0x7f, 0x80, 0xff, dice.below(256)])
  if (copy.length > 0) copy[dice.below(copy.length)] = value
  return copy
}

const addToByte: Mutation = (dice, bytes) => {
  const copy = bytes.slice()
  if (copy.length > 0) copy[dice.below(copy.length)]! += dice.pick([1, 255, 2, 254])
  return copy
}

const remove: Mutation = (dice, bytes) => {
  const [start, count] = range(dice, bytes.length)
  return splice(bytes, start, count, new Uint8Array(0))
}

const insert: Mutation = (dice, bytes) => splice(bytes, dice.below(bytes.length + 1), 0, dice.bytes(dice.length(32)))

const repeat: Mutation = (dice, bytes) => {
  const [start, count] = range(dice, bytes.length)
  return splice(bytes, dice.below(bytes.length + 1), 0, bytes.subarray(start, start + count))
}

const fill: Mutation = (dice, bytes) => {
  const [start, count] = range(dice, bytes.length)
  const copy = bytes.slice()
  return copy.fill(dice.pick([0, 0xff, dice.below(256)]), start, start + count)
}

const truncate: Mutation = (dice, bytes) => bytes.slice(0, dice.below(bytes.length + 1))

/** Some of the other input in the place of some of this one. */
const cross: Mutation = (dice, bytes, other) => {
  const [start, count] = range(dice, bytes.length)
  const [from, taken] = range(dice, other.length)
  return splice(bytes, start, count, other.subarray(from, from + taken))
}

const headAndTail: Mutation = (dice, bytes, other) => {
  const cut = dice.below(bytes.length + 1)
  return splice(bytes, cut, bytes.length - cut, other.subarray(Math.min(cut, other.length)))
}

/** A little-endian field of 1, 2, 4 or 8 bytes set to an edge, or moved by a little. */
const field: Mutation = (dice, bytes) => {
  const width = dice.pick([1, 2, 4, 8])
  const at = dice.below(Math.max(1, bytes.length - width + 1))
  let old = 0n
  for (let i = width - 1; i >= 0; i--) old = old * 256n + BigInt(bytes[at + i] ?? 0)
  const value = dice.chance(0.5) ? BigInt(dice.pick(EDGES)) : old + BigInt(dice.between(-3, 3))
  return overwrite(bytes, at, littleEndian(value, width))
}

function littleEndian(value: bigint, width: number): Uint8Array {
  return Uint8Array.from({ length: width }, (_, i) => Number((value >> BigInt(8 * i)) & 255n))
}

/** A varint where one may begin, exchanged for another: a neighbour, an edge, or a form that is not the shortest. */
const varint: Mutation = (dice, bytes) => {
  const at = dice.below(Math.min(bytes.length, dice.pick([4, 16, bytes.length])))
  let end = at
  let old = 0
  while (end < bytes.length && end < at + 5) {
    old += (bytes[end]! & 0x7f) * 2 ** (7 * (end - at))
    if (bytes[end++]! < 0x80) break
  }
  const value = dice.chance(0.6) ? Math.max(0, old + dice.between(-2, 2)) : dice.pick(EDGES)
  return splice(bytes, at, end - at, encodeVarint(value, dice.chance(0.05)))
}

function encodeVarint(value: number, padded: boolean): Uint8Array {
  const out: number[] = []
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) out.push((rest % 0x80) | 0x80)
  out.push(padded ? rest | 0x80 : rest)
  if (padded) out.push(0)
  return Uint8Array.from(out)
}

/** Frequent ones stand more than once. */
const MUTATIONS: readonly Mutation[] = [
  flipBit,
  flipBit,
  flipBit,
  setByte,
  addToByte,
  addToByte,
  remove,
  insert,
  repeat,
  fill,
  truncate,
  cross,
  headAndTail,
  field,
  varint,
  varint,
]
