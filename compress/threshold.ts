/**
 * The exact threshold of a top-k by magnitude, without sorting. The bits of |x|, read as an integer, order like |x|;
 * a histogram of the high 15 of the 31 bits finds the bin of the k-th largest, a histogram of the low 16 bits inside
 * that bin finds the value (ALGORITHM.md, "Threshold"; docs/decisions/0001-exact-count-and-ties.md).
 */
import { kernels } from './kernels/default.ts'

export const HIGH_BINS = 2 ** 15
export const LOW_BINS = 2 ** 16

/** A product like 0.1 * 30 is a little above 3 in f64 and must not count as 4. */
const ROUNDING_SLACK = 1e-9

/** Entries with magnitude bits above `thresholdBits` are kept, and the first `ties` of those equal to it. */
export interface Threshold {
  readonly thresholdBits: number
  readonly ties: number
}

/** How many of `entries` a density keeps: ceil(density * entries), and never more than there are. */
export function keepCount(entries: number, density: number): number {
  return Math.min(entries, Math.max(0, Math.ceil(density * entries - ROUNDING_SLACK)))
}

/** The bin that holds the `keep`-th largest, and how many are still wanted from inside it. */
export interface BinChoice {
  readonly bin: number
  readonly remaining: number
}

/** `counts` cover at least `keep` entries. The bin is walked to from the largest values down. */
export function chooseBin(counts: ArrayLike<number>, keep: number): BinChoice {
  let above = 0
  for (let bin = counts.length - 1; bin >= 0; bin--) {
    const count = counts[bin] as number
    if (above + count >= keep) return { bin, remaining: keep - above }
    above += count
  }
  throw new Error(`a histogram of ${above} entries cannot give ${keep}`)
}

/** From the bin and the histogram of the low bits inside it. Zeros are never kept, so a threshold of zero has no ties. */
export function chooseThreshold(high: BinChoice, lowCounts: ArrayLike<number>): Threshold {
  const low = chooseBin(lowCounts, high.remaining)
  const thresholdBits = high.bin * LOW_BINS + low.bin
  return { thresholdBits, ties: thresholdBits === 0 ? 0 : low.remaining }
}

/** The threshold that keeps `keep` entries of one tensor. */
export function tensorThreshold(tau: Float32Array, keep: number): Threshold {
  const high = new Uint32Array(HIGH_BINS)
  kernels().histogramHigh(tau, high)
  const choice = chooseBin(high, keep)
  const low = new Uint32Array(LOW_BINS)
  kernels().histogramLow(tau, choice.bin, low)
  return chooseThreshold(choice, low)
}

/** The non-empty bins of a low histogram: at most 6 bytes per entry that lies in the chosen high bin. */
export interface LowCounts {
  readonly bins: Uint16Array
  readonly counts: Uint32Array
}

export function compactCounts(counts: Uint32Array): LowCounts {
  let size = 0
  for (let bin = 0; bin < counts.length; bin++) if (counts[bin] !== 0) size++
  const out = { bins: new Uint16Array(size), counts: new Uint32Array(size) }
  let next = 0
  for (let bin = 0; bin < counts.length; bin++) {
    const count = counts[bin] as number
    if (count === 0) continue
    out.bins[next] = bin
    out.counts[next++] = count
  }
  return out
}

/** Adds to `total`, which has LOW_BINS entries. */
export function addCompact(total: Float64Array, { bins, counts }: LowCounts): void {
  for (let i = 0; i < bins.length; i++) {
    const bin = bins[i] as number
    total[bin] = (total[bin] as number) + (counts[i] as number)
  }
}

/** Hands the ties out to the tensors in the order given (name order): the lowest flat indices get them. */
export function shareTies(threshold: Threshold, parts: readonly LowCounts[]): number[] {
  const low = threshold.thresholdBits % LOW_BINS
  let left = threshold.ties
  return parts.map(({ bins, counts }) => {
    const at = bins.indexOf(low)
    const share = Math.min(left, at < 0 ? 0 : (counts[at] as number))
    left -= share
    return share
  })
}

const bits = new Uint32Array(1)
const value = new Float32Array(bits.buffer)

/** The magnitude that the bits stand for. */
export function magnitudeOf(thresholdBits: number): number {
  bits[0] = thresholdBits
  return value[0] as number
}
