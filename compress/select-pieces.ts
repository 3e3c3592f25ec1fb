/**
 * The kept entries of a tensor of tau that goes by in pieces, without it ever being in memory. One pass collects the
 * candidates: all entries from a bound on that is sure to be low enough, or is found not to be and then replaced by an
 * exact one. What is kept of them is exactly what ALGORITHM.md, "Threshold", says.
 */
import { dtypeBytes } from '../tensors/dtype.ts'
import { Candidates, type MomentLanes, type NonFinite, type TauPiece } from './kernels/tau-kernels.ts'
import { tauKernels } from './kernels/tau-wasm.ts'
import { leastOf, type MaskRule, type ScalablePart } from './quantize.ts'
import { type Moments, notFinite } from './statistics.ts'
import { chooseBin, HIGH_BINS, keepCount, LOW_BINS, magnitudeOf, type Threshold, tensorThreshold } from './threshold.ts'

/** Where pieces come from; node/tau-pieces.ts reads them from files. */
export interface TauSource {
  readonly entries: number
  all(signal?: AbortSignal): AsyncIterable<TauPiece>
  /** Pieces from all over the tensor; undefined where it is small. */
  sample(signal?: AbortSignal): AsyncIterable<TauPiece> | undefined
}

/**
 * Standard deviations that the sampled rank of the bound lies beyond the wanted one. More than for independent entries,
 * because neighbours are alike; a miss costs two more passes.
 */
const SAFETY = 10
/** Density at which a sample has no room for a bound. */
const MAX_SAMPLED_DENSITY = 0.9

/** `index`: the tensor's place in its unit; `layers`: of trits that will be made. Throws NOT_FINITE. */
export async function selectPieces(
  name: string,
  source: TauSource,
  mask: MaskRule,
  index: number,
  layers = 1,
  signal?: AbortSignal,
): Promise<ScalablePart> {
  if (mask.scope === 'global') {
    const threshold = { thresholdBits: mask.thresholdBits, ties: mask.ties[index] as number }
    const { candidates, moments } = await collect(name, source, threshold.thresholdBits, signal)
    return {
      ...keep(name, candidates, threshold, { moments, layers }),
      threshold: magnitudeOf(threshold.thresholdBits),
    }
  }
  const wanted = keepCount(source.entries, mask.density)
  let found = await collect(name, source, await sampledBound(source, wanted, signal), signal, wanted)
  if (found.candidates.length < wanted) {
    giveBack(found.candidates)
    const exact = await exactBound(source, wanted, signal)
    found = await collect(name, source, exact, signal)
  }
  const { moments } = found
  return keep(name, found.candidates, thresholdAmong(found.candidates, wanted), { moments, layers })
}

interface Collected {
  readonly candidates: Candidates
  readonly moments: Moments
}

/** All non-zero entries whose magnitude bits are at least `bound`. */
async function collect(
  name: string,
  source: TauSource,
  bound: number,
  signal: AbortSignal | undefined,
  expected = 0,
): Promise<Collected> {
  const candidates = takeCandidates(Math.ceil(expected * 1.25))
  const lanes: MomentLanes = new Float64Array(12)
  for await (const piece of source.all(signal))
    refuse(name, tauKernels().collect(piece, Math.max(1, bound), candidates, lanes))
  return { candidates, moments: momentsOfLanes(source.entries, lanes) }
}

/** Throws NOT_FINITE. */
export function refuse(name: string, found: NonFinite | undefined): void {
  if (found !== undefined) throw notFinite(name, found.index, found.value)
}

export function momentsOfLanes(entries: number, lanes: MomentLanes): Moments {
  const join = (first: number) =>
    (lanes[first] as number) +
    (lanes[first + 1] as number) +
    ((lanes[first + 2] as number) + (lanes[first + 3] as number))
  return { entries, sum: join(0), sumSquares: join(4) }
}

/** A bound that, by a sample, at least `wanted` entries are very likely to reach. */
async function sampledBound(source: TauSource, wanted: number, signal?: AbortSignal): Promise<number> {
  const density = wanted / source.entries
  const pieces = source.sample(signal)
  if (pieces === undefined || density > MAX_SAMPLED_DENSITY) return exactBound(source, wanted, signal)
  const sample = new Candidates(2 ** 16)
  let entries = 0
  for await (const piece of pieces) {
    tauKernels().collect(piece, 1, sample)
    entries += piece.values.length / dtypeBytes(piece.dtype)
  }
  const rank = Math.ceil(density * entries + SAFETY * Math.sqrt(density * (1 - density) * entries))
  return Math.max(1, thresholdAmong(sample, rank).thresholdBits)
}

/** The lowest bits of the histogram bin that holds the `wanted`-th largest. */
async function exactBound(source: TauSource, wanted: number, signal?: AbortSignal): Promise<number> {
  const high = new Uint32Array(HIGH_BINS)
  const lanes = new Float64Array(12)
  for await (const piece of source.all(signal)) tauKernels().measure(piece, lanes, high)
  return chooseBin(high, wanted).bin * LOW_BINS
}

/** The threshold of the whole tensor, whose `wanted` largest are all among the candidates, or all its non-zeros. */
function thresholdAmong(candidates: Candidates, wanted: number): Threshold {
  if (candidates.length <= wanted) return { thresholdBits: 0, ties: 0 }
  const { buffer, byteOffset, length } = candidates.magnitudes
  return tensorThreshold(new Float32Array(buffer, byteOffset, length), wanted)
}

/** Drops what is not kept from the candidates' own memory, and gives them back for the next tensor. */
function keep(
  name: string,
  candidates: Candidates,
  { thresholdBits, ties }: Threshold,
  { moments, layers }: { readonly moments: Moments; readonly layers: number },
): ScalablePart {
  const { entries, magnitudes } = candidates
  const values = new Float32Array(magnitudes.buffer, magnitudes.byteOffset, magnitudes.length)
  let tiesLeft = ties
  let keptMagnitudes = 0
  let n = 0
  for (let i = 0; i < entries.length; i++) {
    const magnitude = magnitudes[i] as number
    if (magnitude < thresholdBits) continue
    if (magnitude === thresholdBits && tiesLeft-- <= 0) continue
    const value = values[i] as number
    entries[n] = entries[i] as number
    values[n++] = value
    keptMagnitudes += value
  }
  const positions = entries.slice(0, n)
  const threshold = leastOf(values.subarray(0, n))
  const kept = layers === 1 ? {} : { magnitudes: values.slice(0, n) }
  giveBack(candidates)
  return { name, moments, keptMagnitudes, positions, threshold, ...kept }
}

/** Memory of a finished tensor's candidates: fresh memory costs more than filling it. Up to 64 MiB stay. */
let spare: Candidates | undefined
const MAX_SPARE_ENTRIES = 2 ** 23

function takeCandidates(expected: number): Candidates {
  const taken = spare ?? new Candidates(expected)
  spare = undefined
  taken.length = 0
  return taken
}

function giveBack(candidates: Candidates): void {
  if (candidates.capacity <= MAX_SPARE_ENTRIES) spare = candidates
}
