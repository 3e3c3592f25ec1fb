/**
 * The encoder's choice of row and column classes from marginal counts. A free choice: any classes decode.
 * Each axis is partitioned optimally by density into 2, 4 and 8 classes; the cheapest pair by estimate is taken.
 */
import { BitWriter } from './bits.ts'
import { writeClassMap } from './class-map.ts'
import { positionBits } from './entropy.ts'
import { FRAME_CELLS } from './frames.ts'
import { maxClassBits, type TensorClasses } from './sgr-side.ts'
import type { MarginalCounts } from './trit-codec.ts'
import { varintLength } from './varint.ts'

/** Members of an axis are sorted into this many bins of sqrt(count) before the search. */
const BINS = 192
const MAX_CLASSES = 8

/** One way to classify an axis. */
interface AxisChoice {
  readonly classCount: number
  readonly classes: Uint8Array | undefined
  /** Per class: members, and non-zeros in them. */
  readonly members: readonly number[]
  readonly nonZeros: readonly number[]
  readonly mapBits: number
}

export function chooseClasses(counts: MarginalCounts): TensorClasses {
  const { rows, cols, rowCounts, colCounts } = counts
  const rowChoices = axisChoices(rowCounts, cols, maxClassBits(rows, cols))
  const colChoices = axisChoices(colCounts, rows, maxClassBits(cols, cols))
  let best = { row: rowChoices[0]!, col: colChoices[0]! }
  let bestBits = Number.POSITIVE_INFINITY
  for (const row of rowChoices) {
    for (const col of colChoices) {
      const bits = estimateBits(row, col)
      if (bits >= bestBits) continue
      best = { row, col }
      bestBits = bits
    }
  }
  return {
    rowClassCount: best.row.classCount,
    colClassCount: best.col.classCount,
    rowClasses: best.row.classes,
    colClasses: best.col.classes,
  }
}

/** Bits of both maps, the counts of non-zeros and their places, with the non-zeros of a stratum guessed from marginals. */
function estimateBits(row: AxisChoice, col: AxisChoice): number {
  const total = row.nonZeros.reduce((sum, n) => sum + n, 0)
  const cells = row.members.reduce((sum, n) => sum + n, 0) * col.members.reduce((sum, n) => sum + n, 0)
  const frames = Math.ceil(cells / FRAME_CELLS)
  let bits = row.mapBits + col.mapBits
  for (let a = 0; a < row.classCount; a++) {
    for (let b = 0; b < col.classCount; b++) {
      const stratum = row.members[a]! * col.members[b]!
      if (stratum === 0) continue
      const expected = total === 0 ? 0 : (row.nonZeros[a]! * col.nonZeros[b]!) / total
      const nonZeros = Math.min(stratum, Math.round(expected))
      bits += positionBits(stratum, nonZeros) + 8 * frames * varintLength(Math.ceil(nonZeros / frames))
    }
  }
  return bits
}

// ---- one axis ----

function axisChoices(counts: Uint32Array, cellsPerMember: number, maxBits: number): AxisChoice[] {
  const binOf = binMembers(counts)
  const bins = summarise(counts, binOf)
  const choices = [describe(counts, undefined, 1)]
  if (maxBits === 0 || bins.length < 2) return choices
  const partitions = optimalPartitions(bins, cellsPerMember, 2 ** maxBits)
  for (let classCount = 2; classCount <= 2 ** maxBits; classCount *= 2) {
    if (bins.length <= classCount / 2) break // fewer classes separate all bins already
    const firstBins = partitions(classCount)
    const classOfBin = new Uint8Array(BINS)
    bins.forEach((bin, i) => {
      classOfBin[bin.bin] = firstBins.filter((first) => first > 0 && first <= i).length
    })
    choices.push(
      describe(
        counts,
        binOf.map((bin) => classOfBin[bin]!),
        classCount,
      ),
    )
  }
  return choices
}

function binMembers(counts: Uint32Array): Uint8Array {
  let largest = 0
  for (let i = 0; i < counts.length; i++) largest = Math.max(largest, counts[i]!)
  const scale = (BINS - 1) / Math.sqrt(largest + 1)
  const binOf = new Uint8Array(counts.length)
  for (let i = 0; i < counts.length; i++) binOf[i] = Math.sqrt(counts[i]!) * scale
  return binOf
}

interface Bin {
  readonly bin: number
  readonly members: number
  readonly nonZeros: number
}

/** The bins that have members, ascending. */
function summarise(counts: Uint32Array, binOf: Uint8Array): Bin[] {
  const members = new Float64Array(BINS)
  const nonZeros = new Float64Array(BINS)
  for (let i = 0; i < counts.length; i++) {
    members[binOf[i]!]! += 1
    nonZeros[binOf[i]!]! += counts[i]!
  }
  const bins: Bin[] = []
  for (let bin = 0; bin < BINS; bin++)
    if (members[bin]! > 0) bins.push({ bin, members: members[bin]!, nonZeros: nonZeros[bin]! })
  return bins
}

function describe(counts: Uint32Array, classes: Uint8Array | undefined, classCount: number): AxisChoice {
  const members = new Array<number>(classCount).fill(0)
  const nonZeros = new Array<number>(classCount).fill(0)
  for (let i = 0; i < counts.length; i++) {
    const cls = classes?.[i] ?? 0
    members[cls]!++
    nonZeros[cls]! += counts[i]!
  }
  return { classCount, classes, members, nonZeros, mapBits: mapBits(classes, classCount) }
}

function mapBits(classes: Uint8Array | undefined, classCount: number): number {
  if (classes === undefined) return 0
  const writer = new BitWriter()
  writeClassMap(writer, classes, classCount)
  return writer.bitLength
}

/**
 * Dynamic programme over the bins: partitions(k) gives the first bin of each of k runs of bins that need the fewest
 * bits in total (a run of cells is coded with one density).
 */
function optimalPartitions(bins: readonly Bin[], cellsPerMember: number, maxClasses: number) {
  const runBits = runCosts(bins, cellsPerMember)
  const count = bins.length
  const bits = [Float64Array.from(bins, (_, last) => runBits(0, last))]
  const firstOfLast = [new Uint8Array(count)]
  for (let k = 1; k < Math.min(maxClasses, MAX_CLASSES); k++) {
    const best = Float64Array.from(bits[k - 1]!)
    const first = Uint8Array.from(firstOfLast[k - 1]!)
    for (let last = 1; last < count; last++) {
      for (let start = 1; start <= last; start++) {
        const candidate = bits[k - 1]![start - 1]! + runBits(start, last)
        if (candidate >= best[last]!) continue
        best[last] = candidate
        first[last] = start
      }
    }
    bits.push(best)
    firstOfLast.push(first)
  }
  return (classCount: number): number[] => {
    const starts: number[] = []
    let last = count - 1
    for (let k = classCount - 1; k >= 0 && last >= 0; k--) {
      starts.push(firstOfLast[k]![last]!)
      last = firstOfLast[k]![last]! - 1
    }
    return starts
  }
}

/** Bits of the bins first..last as one class. */
function runCosts(bins: readonly Bin[], cellsPerMember: number): (first: number, last: number) => number {
  const n = bins.length
  const table = new Float64Array(n * n)
  for (let first = 0; first < n; first++) {
    let cells = 0
    let nonZeros = 0
    for (let last = first; last < n; last++) {
      cells += bins[last]!.members * cellsPerMember
      nonZeros += bins[last]!.nonZeros
      table[first * n + last] = positionBits(cells, nonZeros)
    }
  }
  return (first, last) => table[first * n + last]!
}
