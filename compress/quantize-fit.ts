/**
 * A LoRA module whose component scales are fitted to the product B A (ALGORITHM.md, "Fitted scales"). Since the fit
 * sees only the product, the factors may be in any coordinates that suit the threshold.
 */
import { fitComponents, normFactor } from './fit-components.ts'
import { type Levels, layersOf, levelsOf } from './levels.ts'
import { type Components, innerProduct, overlaps } from './product.ts'
import { f32Scale, layered, type QuantizedPart, type SelectedPart } from './quantize.ts'
import { INDEX_MASK, type Scales, SIGN_BIT } from './quantized-tensor.ts'
import { equalFactors } from './scale-factors.ts'
import { type ColumnMatrix, columnMatrix } from './transforms/column-matrix.ts'
import type { LoraFactors } from './transforms/lora-factors.ts'

export interface FitRules {
  readonly layers: number
  readonly towards: 'norm' | 'mean' | 'between'
  readonly gain: number
  /** For messages. */
  readonly module: string
}

export interface FittedPair {
  readonly a: QuantizedPart
  readonly b: QuantizedPart
  /** Sums over the product B A and its quantised form, as ProductStats has them. */
  readonly squares: number
  readonly quantizedSquares: number
  readonly dot: number
}

/** One factor with its levels, and where its entries belong. */
interface Side {
  readonly part: SelectedPart
  readonly levels: Levels
  readonly rows: number
  readonly cols: number
  readonly axis: 'row' | 'column'
}

/** `before`: the components of the adapter's own factors. `factors`: what was selected from. */
export function fitPair(
  selected: { readonly a: SelectedPart; readonly b: SelectedPart },
  before: Components,
  factors: LoraFactors,
  rules: FitRules,
): FittedPair {
  const { rank, inFeatures, outFeatures } = factors
  const a = side(selected.a, rules, { rows: rank, cols: inFeatures, axis: 'row' })
  const b = side(selected.b, rules, { rows: outFeatures, cols: rank, axis: 'column' })
  const quantized = { a: levelColumns(a, rank), b: levelColumns(b, rank) }
  const own = overlaps(quantized, quantized)
  const crossed = overlaps(before, quantized)
  const squares = innerProduct(overlaps(before, before))
  const fitted = fitComponents(own, crossed)
  const toNorm = normFactor(own, fitted, squares)
  const factor = rules.gain * rules.gain * { norm: toNorm, between: Math.sqrt(toNorm), mean: 1 }[rules.towards]
  const scales = Float32Array.from(fitted, (weight) => f32Scale(equalFactors(weight * factor), rules.module))
  const weights = Float64Array.from(scales, (scale) => scale * scale)
  const roots = Float64Array.from(factors.weights ?? new Float64Array(rank).fill(1), Math.sqrt)
  return {
    a: withScales(a, scales, roots, rules.layers),
    b: withScales(b, scales, roots, rules.layers),
    squares,
    quantizedSquares: innerProduct(own, weights, weights),
    dot: innerProduct(crossed, undefined, weights),
  }
}

function side(part: SelectedPart, { layers }: FitRules, matrix: Pick<Side, 'rows' | 'cols' | 'axis'>): Side {
  return { part, levels: levelsOf(part, layers), ...matrix }
}

function componentOf({ axis, cols }: Side, index: number): number {
  return axis === 'row' ? Math.floor(index / cols) : index % cols
}

/** Levels with their signs, component by component. */
function levelColumns(of: Side, rank: number): ColumnMatrix {
  const length = of.axis === 'row' ? of.cols : of.rows
  const out = columnMatrix(length, rank)
  of.part.positions.forEach((position, i) => {
    const index = position & INDEX_MASK
    const along = of.axis === 'row' ? index % of.cols : Math.floor(index / of.cols)
    const level = of.levels.levels[i] as number
    out.values[componentOf(of, index) * length + along] = (position & SIGN_BIT) === 0 ? level : -level
  })
  return out
}

/** Entries of components without a scale are dropped: they would cost bytes for nothing. */
function withScales(of: Side, scales: Float32Array, roots: Float64Array, layers: number): QuantizedPart {
  const { part, rows, cols, axis } = of
  const kept = withScaleOnly(of, scales)
  const sums = { quantizedSquares: 0, dot: 0 }
  kept.positions.forEach((position, i) => {
    const index = position & INDEX_MASK
    const component = componentOf(of, index)
    const value = (kept.levels[i] as number) * (scales[component] as number)
    sums.quantizedSquares += value * value
    sums.dot += value * Math.abs(part.tau[index] as number) * (roots[component] as number)
  })
  let sumSquares = 0
  part.tau.forEach((value, index) => {
    const balanced = value * (roots[componentOf(of, index)] as number)
    sumSquares += balanced * balanced
  })
  const trits = layersOf(kept.positions, kept.levels, layers)
  const stored: Scales = { axis, values: scales }
  return {
    name: part.name,
    quantized: { rows, cols, ...layered(trits), scales: stored },
    stats: {
      entries: part.moments.entries,
      kept: kept.positions.length,
      trits: trits.map(({ length }) => length),
      sumSquares,
      ...sums,
    },
  }
}

function withScaleOnly(of: Side, scales: Float32Array): { positions: Uint32Array; levels: Uint16Array } {
  const { positions } = of.part
  const stays = (position: number) => scales[componentOf(of, position & INDEX_MASK)] !== 0
  return {
    positions: positions.filter(stays),
    levels: of.levels.levels.filter((_, i) => stays(positions[i] as number)),
  }
}
