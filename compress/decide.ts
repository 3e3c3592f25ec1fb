/**
 * The decisions between measuring and encoding: with `scope: global` two passes over all of tau give one exact
 * threshold, the share of its ties that each tensor keeps, and one scale; with `scope: tensor` every tensor decides for
 * itself (ALGORITHM.md, "Threshold" and "Scales").
 */
import { compareNames } from '../tensors/compare-names.ts'
import type { Executor } from './executor.ts'
import { runInOrder } from './in-order.ts'
import type { CompressOptions, ExpertKind } from './options.ts'
import { type MaskRule, normScale, type QuantizeRules, type ScaleRule } from './quantize.ts'
import { combineMoments, type Moments, standardDeviation } from './statistics.ts'
import { type Unit, unitTensors } from './task-vector.ts'
import {
  addCompact,
  type BinChoice,
  chooseBin,
  chooseThreshold,
  HIGH_BINS,
  keepCount,
  LOW_BINS,
  type LowCounts,
  magnitudeOf,
  shareTies,
  type Threshold,
} from './threshold.ts'

/**
 * A full fine-tune scores better when the scale exceeds the norm-keeping one, the more so the fewer entries are kept:
 * docs/decisions/0004-defaults.md.
 */
const FULL_FACTOR = 1.15
const SPARSE_FACTOR = 1.3
const SPARSE_DENSITY = 0.05

export interface Decision {
  /** Of all of tau as it was uploaded or transformed; null where every tensor has its own. */
  readonly sigma: number | null
  /** The smallest magnitude that could be kept; null where every tensor has its own. */
  readonly threshold: number | null
  readonly rulesFor: (unit: Unit) => QuantizeRules
}

export interface DecideContext {
  readonly kind: ExpertKind
  readonly options: CompressOptions
  readonly units: readonly Unit[]
  readonly executor: Executor
  readonly signal?: AbortSignal | undefined
  /** Called after every unit of every pass. */
  readonly onUnit: () => void
}

/** Passes over all units that `decide` makes before they are encoded. */
export function decisionPasses(options: CompressOptions): number {
  return options.scope === 'global' ? 2 : 0
}

export async function decide(context: DecideContext): Promise<Decision> {
  const { kind, options } = context
  if (options.scope === 'tensor') {
    const mask: MaskRule = { scope: 'tensor', density: options.density }
    return {
      sigma: null,
      threshold: null,
      rulesFor: (unit) => ({
        mask,
        scale: tensorRule(unit, options, kind),
        layers: options.layers,
        gain: options.gain,
      }),
    }
  }
  const measured = await measure(context)
  const keep = keepCount(measured.moments.entries, options.density)
  const bin = chooseBin(measured.high, keep)
  const counted = await count(context, bin)
  const threshold = chooseThreshold(bin, counted.low)
  const ties = shareAll(threshold, counted.tensors)
  const kept = keptTotals(counted, threshold, keep - bin.remaining)
  const given: ScaleRule = { kind: 'given', value: globalScale(context, measured.moments, kept) }
  // What several magnitudes add up to is known tensor by tensor alone.
  const hasOwnScale = (unit: Unit) => options.layers > 1 || isComponentScaled(unit, options)
  return {
    sigma: standardDeviation(measured.moments),
    threshold: magnitudeOf(threshold.thresholdBits),
    rulesFor: (unit) => ({
      mask: {
        scope: 'global',
        thresholdBits: threshold.thresholdBits,
        ties: unitTensors(unit).map(({ name }) => ties.get(name) as number),
      },
      scale: hasOwnScale(unit) ? tensorRule(unit, options, kind) : given,
      layers: options.layers,
      gain: options.gain,
    }),
  }
}

/** `norm` on a LoRA module keeps the norm of its product, whatever the scope of the threshold. */
function isComponentScaled(unit: Unit, options: CompressOptions): boolean {
  return unit.kind === 'pair' && (options.scale === 'norm' || isFitted(unit, options))
}

/** Several magnitudes have no mean to weigh a component by, and coordinates of the effect are not the factors' own. */
function isFitted(unit: Unit, { transform, layers }: CompressOptions): boolean {
  return unit.kind === 'pair' && (transform === 'effect' || layers > 1)
}

function tensorRule(unit: Unit, options: CompressOptions, kind: ExpertKind): ScaleRule {
  if (isFitted(unit, options)) return { kind: 'fit', towards: options.scale === 'std' ? 'norm' : options.scale }
  if (isComponentScaled(unit, options)) return { kind: 'component' }
  switch (options.scale) {
    case 'std':
      return { kind: 'std', alpha: options.alpha as number }
    case 'norm':
      return { kind: 'norm', factor: normFactor(kind, options) }
    case 'mean':
      return { kind: 'mean' }
    case 'between':
      return { kind: 'between', factor: normFactor(kind, options) }
  }
}

function normFactor(kind: ExpertKind, { density }: CompressOptions): number {
  if (kind !== 'full') return 1
  return density <= SPARSE_DENSITY ? SPARSE_FACTOR : FULL_FACTOR
}

interface Measured {
  readonly moments: Moments
  /** f64 counts: an expert may have more than 2^32 entries. */
  readonly high: Float64Array
}

async function measure({ units, options, executor, signal, onUnit }: DecideContext): Promise<Measured> {
  const high = new Float64Array(HIGH_BINS)
  const perTensor: { name: string; moments: Moments }[] = []
  await runInOrder({
    items: units,
    width: executor.width,
    signal,
    start: (unit, stop) => executor.run('measureUnit', { unit, transform: options.transform }, stop),
    consume: (measure, unit) => {
      unitTensors(unit).forEach(({ name }, i) => {
        perTensor.push({ name, moments: measure.moments[i] as Moments })
      })
      for (let bin = 0; bin < HIGH_BINS; bin++) high[bin] = (high[bin] as number) + (measure.high[bin] as number)
      onUnit()
    },
  })
  perTensor.sort((a, b) => compareNames(a.name, b.name))
  return { moments: combineMoments(perTensor.map(({ moments }) => moments)), high }
}

interface CountedTensor {
  readonly name: string
  readonly low: LowCounts
  readonly magnitudesAbove: number
}

interface Counted {
  readonly low: Float64Array
  /** In name order. */
  readonly tensors: readonly CountedTensor[]
}

async function count(context: DecideContext, { bin }: BinChoice): Promise<Counted> {
  const { units, options, executor, signal, onUnit } = context
  const low = new Float64Array(LOW_BINS)
  const magnitudes = options.scale === 'mean' || options.scale === 'between'
  const tensors: CountedTensor[] = []
  await runInOrder({
    items: units,
    width: executor.width,
    signal,
    start: (unit, stop) => executor.run('countUnit', { unit, transform: options.transform, bin, magnitudes }, stop),
    consume: (counts, unit) => {
      unitTensors(unit).forEach(({ name }, i) => {
        const part = counts.low[i] as LowCounts
        addCompact(low, part)
        tensors.push({ name, low: part, magnitudesAbove: counts.magnitudesAbove[i] as number })
      })
      onUnit()
    },
  })
  tensors.sort((a, b) => compareNames(a.name, b.name))
  return { low, tensors }
}

function shareAll(threshold: Threshold, tensors: readonly CountedTensor[]): ReadonlyMap<string, number> {
  const shares = shareTies(
    threshold,
    tensors.map(({ low }) => low),
  )
  return new Map(tensors.map(({ name }, i) => [name, shares[i] as number]))
}

interface Kept {
  readonly entries: number
  /** Sum of |tau| over them; meaningful for `scale: mean` alone. */
  readonly magnitudes: number
}

/**
 * What the threshold keeps. Magnitudes: the sums above the bin in name order, then count * value of the low bins from
 * the largest down to the threshold, whose count is the number of ties.
 */
function keptTotals({ low, tensors }: Counted, { thresholdBits, ties }: Threshold, aboveBin: number): Kept {
  let entries = aboveBin
  let magnitudes = 0
  for (const { magnitudesAbove } of tensors) magnitudes += magnitudesAbove
  const first = thresholdBits % LOW_BINS
  const binStart = thresholdBits - first
  for (let bin = LOW_BINS - 1; bin >= first; bin--) {
    const inBin = bin === first ? ties : (low[bin] as number)
    entries += inBin
    magnitudes += inBin * magnitudeOf(binStart + bin)
  }
  return { entries, magnitudes }
}

/** The one scale of `scope: global`, f64: rounded where it is used. */
function globalScale({ kind, options }: DecideContext, moments: Moments, kept: Kept): number {
  switch (options.scale) {
    case 'std':
      return (options.alpha as number) * standardDeviation(moments)
    case 'norm':
      return normScale(moments, kept.entries, normFactor(kind, options))
    case 'mean':
      return kept.entries === 0 ? 0 : kept.magnitudes / kept.entries
    case 'between': {
      const mean = kept.entries === 0 ? 0 : kept.magnitudes / kept.entries
      return Math.sqrt(normScale(moments, kept.entries, normFactor(kind, options)) * mean)
    }
  }
}
