/**
 * The lossy step: one tensor of tau to trits and a scale. Everything after it is lossless (ALGORITHM.md, "Trits" and
 * "Scales"). The two factors of a LoRA module are quantised together, in quantize-pair.ts.
 */
import { elementCount } from '../tensors/tensor.ts'
import { CompressError } from './errors.ts'
import { kernels } from './kernels/default.ts'
import { type Levels, layersOf, levelsOf } from './levels.ts'
import { INDEX_MASK, type QuantizedTensor } from './quantized-tensor.ts'
import { type Moments, momentsOf, standardDeviation } from './statistics.ts'
import { keepCount, magnitudeOf, type Threshold, tensorThreshold } from './threshold.ts'

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
  /** Least squares: with one layer, the mean magnitude of the kept entries. */
  | { readonly kind: 'mean' }
  /** The geometric mean of those two. */
  | { readonly kind: 'between'; readonly factor: number }
  /** One magnitude per component of a LoRA module, spread over A and B; the product keeps its norm. */
  | { readonly kind: 'component' }
  /** The same, by least squares over the product of the module; then its norm is kept, or not, or half way. */
  | { readonly kind: 'fit'; readonly towards: 'norm' | 'mean' | 'between' }

/** How a unit is quantised; `gain` multiplies every scale before it is rounded. */
export interface QuantizeRules {
  readonly mask: MaskRule
  readonly scale: ScaleRule
  /** Layers of trits. */
  readonly layers: number
  readonly gain: number
}

/** Sums over one tensor that the report is made of; q is the quantised tensor. */
export interface TensorStats {
  readonly entries: number
  readonly kept: number
  /** Non-zero trits of each layer. */
  readonly trits: readonly number[]
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
  /** Each of them; absent where one layer was asked for. */
  readonly magnitudes?: Float32Array
  /** That of the mask with one threshold for all tensors; else the least kept magnitude. */
  readonly threshold: number
}

/** The same with the tensor itself. */
export interface SelectedPart extends ScalablePart {
  readonly tau: Float32Array
  readonly magnitudes: Float32Array
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
  const magnitudes = Float32Array.from(positions, (position) => Math.abs(tau[position & INDEX_MASK] as number))
  const threshold = mask.scope === 'global' ? magnitudeOf(thresholdBits) : leastOf(magnitudes)
  return { name, tau, moments, positions, magnitudes, keptMagnitudes: sumOf(magnitudes), threshold }
}

function thresholdFor(tau: Float32Array, mask: MaskRule, index: number): Threshold {
  if (mask.scope === 'tensor') return tensorThreshold(tau, keepCount(tau.length, mask.density))
  return { thresholdBits: mask.thresholdBits, ties: mask.ties[index] as number }
}

/** One scale for the whole tensor. `shape` is the tensor's own. Throws NOT_FINITE when the scale leaves f32. */
export function withTensorScale(
  part: ScalablePart,
  shape: readonly number[],
  { scale: rule, layers, gain }: QuantizeRules,
): QuantizedPart {
  const { positions, moments } = part
  const levels = levelsOf(part, layers)
  const scale = f32Scale(gain * tensorScale(moments, levels, rule), part.name)
  const trits = layersOf(positions, levels.levels, layers)
  return {
    name: part.name,
    quantized: { ...matrixOf(shape), ...layered(trits), scales: { axis: 'tensor', values: Float32Array.of(scale) } },
    stats: {
      entries: moments.entries,
      kept: positions.length,
      trits: trits.map(({ length }) => length),
      sumSquares: moments.sumSquares,
      quantizedSquares: scale * scale * levels.squares,
      dot: scale * levels.dot,
    },
  }
}

/** As a QuantizedTensor holds them. */
export function layered(trits: readonly Uint32Array[]): Pick<QuantizedTensor, 'positions' | 'finer'> {
  const [positions, ...finer] = trits
  if (positions === undefined) throw new Error('a tensor without layers')
  return { positions, ...(finer.length > 0 ? { finer } : {}) }
}

function sumOf(magnitudes: Float32Array): number {
  let sum = 0
  for (let i = 0; i < magnitudes.length; i++) sum += magnitudes[i] as number
  return sum
}

/** The least of some magnitudes; 0 of none. */
export function leastOf(magnitudes: Float32Array): number {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < magnitudes.length; i++) least = Math.min(least, magnitudes[i] as number)
  return magnitudes.length === 0 ? 0 : least
}

function tensorScale(moments: Moments, { squares, dot }: Levels, rule: ScaleRule): number {
  switch (rule.kind) {
    case 'given':
      return rule.value
    case 'std':
      return rule.alpha * standardDeviation(moments)
    case 'norm':
      return normScale(moments, squares, rule.factor)
    case 'mean':
      return squares === 0 ? 0 : dot / squares
    case 'between':
      return squares === 0 ? 0 : Math.sqrt(normScale(moments, squares, rule.factor) * (dot / squares))
    case 'component':
    case 'fit':
      throw new Error('component scales belong to a LoRA module')
  }
}

/** factor * |tau| / sqrt(squares), `squares` the sum of the levels squared: with factor 1 tau keeps its norm. */
export function normScale(moments: Moments, squares: number, factor: number): number {
  return squares === 0 ? 0 : factor * Math.sqrt(moments.sumSquares / squares)
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
