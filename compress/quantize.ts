/**
 * The lossy step: one tensor of tau to trits and a scale. Everything after it is lossless (ALGORITHM.md, "Trits" and
 * "Scales"). The two factors of a LoRA module are quantised together, in quantize-pair.ts.
 */
import { elementCount } from '../tensors/tensor.ts'
import { CompressError } from './errors.ts'
import { kernels } from './kernels/default.ts'
import { INDEX_MASK, type QuantizedTensor } from './quantized-tensor.ts'
import { type Moments, momentsOf, standardDeviation } from './statistics.ts'
import { keepCount, type Threshold, tensorThreshold } from './threshold.ts'

/** Which entries are kept: a density of each tensor, or a threshold found over all tensors. */
export type MaskRule =
  | { readonly scope: 'tensor'; readonly density: number }
  /** `ties`: how many entries equal to the threshold each tensor of the unit keeps. */
  | { readonly scope: 'global'; readonly thresholdBits: number; readonly ties: readonly number[] }

/** The magnitude of the kept entries, before the gain. */
export type ScaleRule =
  | { readonly kind: 'given'; readonly value: number }
  /** alpha * sigma of the tensor. */
  | { readonly kind: 'std'; readonly alpha: number }
  /** factor * |tau| / sqrt(kept): at factor 1 the tensor keeps its norm. */
  | { readonly kind: 'norm'; readonly factor: number }
  /** Mean magnitude of the kept entries. */
  | { readonly kind: 'mean' }
  /** One magnitude per component of a LoRA module, spread over A and B; the product keeps its norm. */
  | { readonly kind: 'component' }

/** How a unit is quantised; `gain` multiplies every scale before it is rounded. */
export interface QuantizeRules {
  readonly mask: MaskRule
  readonly scale: ScaleRule
  readonly gain: number
}

/** Sums over one tensor that the report is made of; q is the quantised tensor. */
export interface TensorStats {
  readonly entries: number
  readonly kept: number
  readonly sumSquares: number
  readonly quantizedSquares: number
  /** Sum of tau * q. */
  readonly dot: number
}

export interface QuantizedPart {
  readonly name: string
  readonly quantized: QuantizedTensor
  readonly stats: TensorStats
}

/** The kept entries of a tensor of tau, before they have a scale. */
export interface ScalablePart {
  readonly name: string
  readonly moments: Moments
  /** Ascending index | SIGN_BIT. */
  readonly positions: Uint32Array
  /** Sum of |tau| over them, ascending index, f64. */
  readonly keptMagnitudes: number
}

/** The same with the tensor itself. */
export interface SelectedPart extends ScalablePart {
  readonly tau: Float32Array
}

/** The matrix a tensor is seen as (quantized-tensor.ts). */
function matrixOf(shape: readonly number[]): { rows: number; cols: number } {
  return { rows: elementCount(shape.slice(0, -1)), cols: shape.at(-1) ?? 1 }
}

/** `index`: the tensor's place in its unit. Throws NOT_FINITE. */
export function selectPart(name: string, tau: Float32Array, mask: MaskRule, index: number): SelectedPart {
  const moments = momentsOf(tau, name)
  const { thresholdBits, ties } = thresholdFor(tau, mask, index)
  const positions = kernels().select(tau, thresholdBits, ties)
  return { name, tau, moments, positions, keptMagnitudes: sumMagnitudes(tau, positions) }
}

function thresholdFor(tau: Float32Array, mask: MaskRule, index: number): Threshold {
  if (mask.scope === 'tensor') return tensorThreshold(tau, keepCount(tau.length, mask.density))
  return { thresholdBits: mask.thresholdBits, ties: mask.ties[index] as number }
}

/** One scale for the whole tensor. `shape` is the tensor's own. Throws NOT_FINITE when the scale leaves f32. */
export function withTensorScale(
  part: ScalablePart,
  shape: readonly number[],
  { scale: rule, gain }: QuantizeRules,
): QuantizedPart {
  const kept = part.positions.length
  const magnitudes = part.keptMagnitudes
  const scale = f32Scale(gain * tensorScale(part.moments, kept, magnitudes, rule), part.name)
  return {
    name: part.name,
    quantized: {
      ...matrixOf(shape),
      positions: part.positions,
      scales: { axis: 'tensor', values: Float32Array.of(scale) },
    },
    stats: {
      entries: part.moments.entries,
      kept,
      sumSquares: part.moments.sumSquares,
      quantizedSquares: scale * scale * kept,
      dot: scale * magnitudes,
    },
  }
}

function sumMagnitudes(tau: Float32Array, positions: Uint32Array): number {
  let sum = 0
  for (let i = 0; i < positions.length; i++) sum += Math.abs(tau[(positions[i] as number) & INDEX_MASK] as number)
  return sum
}

function tensorScale(moments: Moments, kept: number, magnitudes: number, rule: ScaleRule): number {
  switch (rule.kind) {
    case 'given':
      return rule.value
    case 'std':
      return rule.alpha * standardDeviation(moments)
    case 'norm':
      return normScale(moments, kept, rule.factor)
    case 'mean':
      return kept === 0 ? 0 : magnitudes / kept
    case 'component':
      throw new Error('component scales belong to a LoRA module')
  }
}

/** factor * |tau| / sqrt(kept): the norm of tau shared out evenly among the kept entries. */
export function normScale(moments: Moments, kept: number, factor: number): number {
  return kept === 0 ? 0 : factor * Math.sqrt(moments.sumSquares / kept)
}

/** Rounds to f32. Throws NOT_FINITE when the scale has left its range. */
export function f32Scale(value: number, name: string): number {
  const scale = Math.fround(value)
  if (Number.isFinite(scale)) return scale
  throw new CompressError(
    'NOT_FINITE',
    `the scale of ${name} would be ${value}, beyond f32: its weights are too large`,
    {
      tensor: name,
      value: String(value),
    },
  )
}
