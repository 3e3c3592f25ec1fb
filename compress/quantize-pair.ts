/**
 * The two factors of a LoRA module to trits and scales. What counts is the product B A, so its norm can be kept by one
 * scale per component of the rank, and its error is measured (ALGORITHM.md, "Component scales" and "Product").
 */

import { type Components, innerProduct, overlaps } from './product.ts'
import {
  f32Scale,
  type QuantizedPart,
  type QuantizeRules,
  type SelectedPart,
  selectPart,
  withTensorScale,
} from './quantize.ts'
import { fitPair } from './quantize-fit.ts'
import { INDEX_MASK, type Scales, SIGN_BIT } from './quantized-tensor.ts'
import { scaleFactors } from './scale-factors.ts'
import { type ColumnMatrix, columnMatrix } from './transforms/column-matrix.ts'
import { componentsOfA, componentsOfB, type LoraFactors } from './transforms/lora-factors.ts'

/** Sums over the product B A of one LoRA module and its quantised form Q. */
export interface ProductStats {
  readonly module: string
  readonly rank: number
  readonly squares: number
  readonly quantizedSquares: number
  /** Inner product of B A and Q. */
  readonly dot: number
  /** The factor of which nothing is left although the module had an effect. */
  readonly lost: 'lora_A' | 'lora_B' | null
}

export interface PairNames {
  readonly module: string
  readonly a: string
  readonly b: string
}

export interface QuantizedPair {
  readonly a: QuantizedPart
  readonly b: QuantizedPart
  readonly product: ProductStats
}

/** `original` as the adapter holds it, `factors` after the transform: the same product. Throws NOT_FINITE. */
export function quantizePair(
  names: PairNames,
  original: LoraFactors,
  factors: LoraFactors,
  rules: QuantizeRules,
): QuantizedPair {
  const { rank, inFeatures, outFeatures } = factors
  const selected = {
    a: selectPart(names.a, factors.a, rules.mask, 0),
    b: selectPart(names.b, factors.b, rules.mask, 1),
  }
  const before = componentsOf(original)
  if (rules.scale.kind === 'fit') {
    const { a, b, ...sums } = fitPair(selected, before, factors, {
      layers: rules.layers,
      towards: rules.scale.towards,
      gain: rules.gain,
      module: names.module,
    })
    return { a, b, product: { module: names.module, rank, ...sums, lost: lostFactor({ a, b }, sums.squares) } }
  }
  const signs = signsOf(selected.a, selected.b, factors)
  const squares = innerProduct(overlaps(before, before))
  const signOverlaps = overlaps(signs, signs)
  const parts =
    rules.scale.kind === 'component'
      ? componentParts(
          selected,
          factors,
          componentScales(selected, factors, signOverlaps, squares, { gain: rules.gain, module: names.module }),
        )
      : {
          a: withTensorScale(selected.a, [rank, inFeatures], rules),
          b: withTensorScale(selected.b, [outFeatures, rank], rules),
        }
  const weights = productWeights(parts.a.quantized.scales, parts.b.quantized.scales, rank)
  const product = {
    module: names.module,
    rank,
    squares,
    quantizedSquares: innerProduct(signOverlaps, weights, weights),
    dot: innerProduct(overlaps(before, signs), undefined, weights),
    lost: lostFactor(parts, squares),
  }
  return { ...parts, product }
}

function componentsOf(factors: LoraFactors): Components {
  return { a: componentsOfA(factors), b: componentsOfB(factors) }
}

/** The trits themselves (-1, 0, +1) by component. */
function signsOf(a: SelectedPart, b: SelectedPart, { rank, inFeatures, outFeatures }: LoraFactors): Components {
  const signsA: ColumnMatrix = columnMatrix(inFeatures, rank)
  for (const position of a.positions) signsA.values[position & INDEX_MASK] = signOf(position)
  const signsB: ColumnMatrix = columnMatrix(outFeatures, rank)
  for (const position of b.positions) {
    const index = position & INDEX_MASK
    signsB.values[(index % rank) * outFeatures + Math.floor(index / rank)] = signOf(position)
  }
  return { a: signsA, b: signsB }
}

function signOf(position: number): number {
  return (position & SIGN_BIT) === 0 ? 1 : -1
}

interface ComponentScales {
  /** Of the rows of A. */
  readonly a: Float32Array
  /** Of the columns of B. */
  readonly b: Float32Array
}

/**
 * Component i of the product weighs meanA_i * meanB_i * c, with the mean kept magnitudes of row i of A and column i of
 * B, and c = |B A| / |P| where P is the product of the sign matrices weighted with those means. The square root of that
 * weight goes to A and to B, times the gain. All zero when nothing of the product is left.
 */
function componentScales(
  { a, b }: { a: SelectedPart; b: SelectedPart },
  { rank, inFeatures }: LoraFactors,
  signOverlaps: ColumnMatrix,
  squares: number,
  { gain, module }: { gain: number; module: string },
): ComponentScales {
  const meansA = componentMeans(a, rank, (index) => Math.floor(index / inFeatures))
  const meansB = componentMeans(b, rank, (index) => index % rank)
  const weights = meansA.map((mean, i) => mean * (meansB[i] as number))
  const signSquares = innerProduct(signOverlaps, weights, weights)
  const factor = signSquares > 0 ? Math.sqrt(squares / signSquares) : 0
  const pairs = Array.from(weights, (weight) => scaleFactors(gain * gain * (weight * factor)))
  return {
    a: Float32Array.from(pairs, ([scale]) => f32Scale(scale, module)),
    b: Float32Array.from(pairs, ([, scale]) => f32Scale(scale, module)),
  }
}

/** Mean |tau| of the kept entries of each component; 0 for a component without any. */
function componentMeans(part: SelectedPart, rank: number, componentOf: (index: number) => number): Float64Array {
  const sums = new Float64Array(rank)
  const counts = new Float64Array(rank)
  for (const position of part.positions) {
    const index = position & INDEX_MASK
    const component = componentOf(index)
    sums[component] = (sums[component] as number) + Math.abs(part.tau[index] as number)
    counts[component] = (counts[component] as number) + 1
  }
  return sums.map((sum, i) => (counts[i] === 0 ? 0 : sum / (counts[i] as number)))
}

function componentParts(
  { a, b }: { a: SelectedPart; b: SelectedPart },
  { rank, inFeatures, outFeatures }: LoraFactors,
  scales: ComponentScales,
): { a: QuantizedPart; b: QuantizedPart } {
  return {
    a: withAxisScales(a, { rows: rank, cols: inFeatures }, { axis: 'row', values: scales.a }),
    b: withAxisScales(b, { rows: outFeatures, cols: rank }, { axis: 'column', values: scales.b }),
  }
}

function withAxisScales(part: SelectedPart, matrix: { rows: number; cols: number }, scales: Scales): QuantizedPart {
  let quantizedSquares = 0
  let dot = 0
  for (const position of part.positions) {
    const index = position & INDEX_MASK
    const component = scales.axis === 'row' ? Math.floor(index / matrix.cols) : index % matrix.cols
    const scale = scales.values[component] as number
    quantizedSquares += scale * scale
    dot += scale * Math.abs(part.tau[index] as number)
  }
  const { entries, sumSquares } = part.moments
  return {
    name: part.name,
    quantized: { ...matrix, positions: part.positions, scales },
    stats: {
      entries,
      kept: part.positions.length,
      trits: [part.positions.length],
      sumSquares,
      quantizedSquares,
      dot,
    },
  }
}

/** What component i of the product weighs: the scale of row i of A times that of column i of B. */
function productWeights(a: Scales, b: Scales, rank: number): Float64Array {
  const at = ({ axis, values }: Scales, i: number) => values[axis === 'tensor' ? 0 : i] as number
  return Float64Array.from({ length: rank }, (_, i) => at(a, i) * at(b, i))
}

function lostFactor({ a, b }: { a: QuantizedPart; b: QuantizedPart }, squares: number): ProductStats['lost'] {
  if (squares === 0) return null
  if (a.stats.kept === 0) return 'lora_A'
  return b.stats.kept === 0 ? 'lora_B' : null
}
