/**
 * Keeps the k entries of largest magnitude, exactly and without sorting: magnitudes of f32 compare like their bits
 * read as integers, so two histograms (upper 16 bits, then the lower 15 of one bucket) give the k-th largest.
 */

const MAGNITUDE = 0x7fff_ffff
const LOW_BITS = 15
const LOW_MASK = (1 << LOW_BITS) - 1
const HIGH_BUCKETS = 1 << 16

interface Threshold {
  /** Bits of the k-th largest magnitude. */
  readonly bits: number
  /** How many entries of exactly that magnitude are among the k. */
  readonly ties: number
}

/** Zeroes all but k entries in place. Among equal magnitudes at the threshold the lowest flat index stays. */
export function keepLargest(values: Float32Array, k: number): void {
  if (k >= values.length) return
  if (k <= 0) {
    values.fill(0)
    return
  }
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const threshold = findThreshold(bits, k)
  let { ties } = threshold
  for (let i = 0; i < bits.length; i++) {
    const magnitude = bits[i]! & MAGNITUDE
    if (magnitude > threshold.bits) continue
    if (magnitude === threshold.bits && ties > 0) ties--
    else bits[i] = 0
  }
}

function findThreshold(bits: Uint32Array, k: number): Threshold {
  const high = new Uint32Array(HIGH_BUCKETS)
  for (let i = 0; i < bits.length; i++) high[(bits[i]! & MAGNITUDE) >>> LOW_BITS]!++
  const upper = bucketOfRank(high, k)
  const low = new Uint32Array(LOW_MASK + 1)
  for (let i = 0; i < bits.length; i++) {
    const magnitude = bits[i]! & MAGNITUDE
    if (magnitude >>> LOW_BITS === upper.bucket) low[magnitude & LOW_MASK]!++
  }
  const lower = bucketOfRank(low, upper.rank)
  return { bits: upper.bucket * (LOW_MASK + 1) + lower.bucket, ties: lower.rank }
}

/** The bucket that holds the entry of the given rank (1 = largest), and its rank within the bucket. */
function bucketOfRank(counts: Uint32Array, rank: number): { bucket: number; rank: number } {
  let left = rank
  for (let bucket = counts.length - 1; bucket >= 0; bucket--) {
    const count = counts[bucket]!
    if (left <= count) return { bucket, rank: left }
    left -= count
  }
  throw new Error(`rank ${rank} is beyond the entries counted`)
}
