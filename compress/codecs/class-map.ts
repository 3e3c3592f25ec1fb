/**
 * Class maps: which class each row (or column) of a tensor has, coded by nested halving. CODECS.md, "Class maps".
 * A node covers the members whose class is in [low, high); it says which of them are in the upper half.
 */
import { CompressError } from '../errors.ts'
import type { BitReader, BitWriter } from './bits.ts'

const PARAMETER_BITS = 3
const PARAMETERS = 2 ** PARAMETER_BITS

/** Writes the map of `classes` (values below `classCount`, a power of two). */
export function writeClassMap(writer: BitWriter, classes: Uint8Array, classCount: number): void {
  writeNode(writer, classes, 0, classCount)
}

function writeNode(writer: BitWriter, classes: Uint8Array, low: number, high: number): void {
  if (high - low === 1) return
  const middle = (low + high) / 2
  let members = 0
  let upper = 0
  for (let i = 0; i < classes.length; i++) {
    const cls = classes[i]!
    if (cls < low || cls >= high) continue
    members++
    if (cls >= middle) upper++
  }
  if (members === 0) return
  const minorityIsUpper = upper * 2 <= members
  const gaps = minorityGaps(classes, low, middle, high, minorityIsUpper)
  const parameter = bestParameter(gaps)
  writer.write(parameter, PARAMETER_BITS)
  writer.write(minorityIsUpper ? 1 : 0, 1)
  writer.write(gaps.length, countBits(members))
  for (const gap of gaps) {
    writer.writeUnary(gap >>> parameter)
    writer.write(gap, parameter)
  }
  writeNode(writer, classes, low, middle)
  writeNode(writer, classes, middle, high)
}

/** The minority is at most half of the members, and its number is stored in as many bits as that needs. */
function countBits(members: number): number {
  return 32 - Math.clz32(members >>> 1)
}

/** Majority members before each minority member, since the previous one. */
function minorityGaps(classes: Uint8Array, low: number, middle: number, high: number, minorityIsUpper: boolean) {
  const gaps: number[] = []
  let gap = 0
  for (let i = 0; i < classes.length; i++) {
    const cls = classes[i]!
    if (cls < low || cls >= high) continue
    if (cls >= middle === minorityIsUpper) {
      gaps.push(gap)
      gap = 0
    } else gap++
  }
  return gaps
}

function bestParameter(gaps: readonly number[]): number {
  let best = 0
  let bestBits = Number.POSITIVE_INFINITY
  for (let parameter = 0; parameter < PARAMETERS; parameter++) {
    let bits = gaps.length * parameter
    for (const gap of gaps) bits += gap >>> parameter
    if (bits >= bestBits) break // convex, as in rice.ts
    best = parameter
    bestBits = bits
  }
  return best
}

/** @throws CompressError CONTAINER_INVALID */
export function readClassMap(reader: BitReader, length: number, classCount: number): Uint8Array {
  const classes = new Uint8Array(length)
  readNode(reader, classes, length, 0, classCount)
  return classes
}

/** On entry the node's members hold the class `low`; those of the upper half are moved to `middle`. */
function readNode(reader: BitReader, classes: Uint8Array, members: number, low: number, high: number): void {
  if (high - low === 1 || members === 0) return
  const middle = (low + high) / 2
  const parameter = reader.read(PARAMETER_BITS)
  const minorityIsUpper = reader.read(1) === 1
  const count = reader.read(countBits(members))
  if (count > members >>> 1) throw invalid(`a minority of ${count} among ${members}`)
  markUpper(classes, low, middle, minorityIsUpper, readMinority(reader, parameter, count, members))
  const upper = minorityIsUpper ? count : members - count
  readNode(reader, classes, members - upper, low, middle)
  readNode(reader, classes, upper, middle, high)
}

/** Indices, among the node's members, of the minority. */
function readMinority(reader: BitReader, parameter: number, count: number, members: number): Uint32Array {
  const minority = new Uint32Array(count)
  const quotientLimit = members >>> parameter
  let member = -1
  for (let i = 0; i < count; i++) {
    member += reader.readUnary(quotientLimit) * 2 ** parameter + reader.read(parameter) + 1
    if (member >= members) throw invalid(`a member past the ${members} of its node`)
    minority[i] = member
  }
  return minority
}

function markUpper(
  classes: Uint8Array,
  low: number,
  middle: number,
  minorityIsUpper: boolean,
  minority: Uint32Array,
): void {
  let member = 0
  let next = 0
  for (let i = 0; i < classes.length; i++) {
    if (classes[i] !== low) continue
    const isMinority = member === minority[next]
    if (isMinority) next++
    if (isMinority === minorityIsUpper) classes[i] = middle
    member++
  }
}

function invalid(problem: string): CompressError {
  return new CompressError('CONTAINER_INVALID', `class map: ${problem}`)
}
