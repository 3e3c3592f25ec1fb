/**
 * What compression did to an expert, in numbers: size against the entropy bound, and fidelity against the plainest
 * alternative, the original merely scaled to the same norm. JSON-ready; finite numbers only.
 */
import { dtypeBytes, isSubByte } from '../tensors/dtype.ts'
import { elementCount, type TensorInfo } from '../tensors/tensor.ts'
import type { Decision } from './decide.ts'
import { lossOf } from './factor-loss.ts'
import type { ExpertKind } from './options.ts'
import type { TensorStats } from './quantize.ts'
import type { ProductStats } from './quantize-pair.ts'
import type { Origin, TaskVectorPlan } from './task-vector.ts'

/** x against its quantised form q, before the rounding to the stored dtype. */
export interface Fidelity {
  /** |x - q| / |x|; 0 when both are zero. */
  readonly relativeError: number
  /** x.q / (|x| |q|); 1 when both are zero, 0 when one is. */
  readonly cosine: number
  /** |q| / |x|; 1 when both are zero. */
  readonly normRatio: number
  /** |x - g x| / |x| with g = normRatio: what merely scaling the original to the norm of q would cost. */
  readonly shrunkRelativeError: number
}

export interface TensorReport extends Fidelity {
  readonly name: string
  readonly parameters: number
  readonly kept: number
  readonly density: number
  /**
   * This tensor's share of the file's trit bytes, per entry. Small tensors are coded together, so the bytes are shared
   * out by order-0 information.
   */
  readonly bitsPerParameter: number
  /** H(k) + k at the tensor's own density k, summed over its layers. */
  readonly boundBitsPerParameter: number
}

/** The update B A of a LoRA module. */
export interface ModuleReport extends Fidelity {
  readonly module: string
  readonly rank: number
  readonly lost: 'lora_A' | 'lora_B' | 'product' | null
}

export interface FileBytes {
  readonly total: number
  readonly table: number
  readonly scales: number
  readonly trits: number
  readonly lossless: number
}

export interface CompressionReport extends Fidelity {
  readonly kind: ExpertKind
  readonly origin: Origin
  /** Entries of all tensors of the expert. */
  readonly parameters: number
  /** Entries that were made ternary. */
  readonly ternaryParameters: number
  readonly kept: number
  /** kept / ternaryParameters. */
  readonly density: number
  readonly sigma: number | null
  readonly threshold: number | null
  readonly originalBytes: number
  readonly bytes: FileBytes
  /** originalBytes / bytes.total. */
  readonly ratio: number
  /** 8 * bytes.total / parameters. */
  readonly bitsPerParameter: number
  /** Bits of everything but the lossless tensors, per ternary parameter. */
  readonly ternaryBitsPerParameter: number
  /** H(k) + k, summed over the layers of trits: what the paper's coder needs at least. */
  readonly boundBitsPerParameter: number
  /** ternaryBitsPerParameter / boundBitsPerParameter. */
  readonly ratioToBound: number
  /** Of the updates B A of all modules together; null unless the expert is a LoRA. */
  readonly product: Fidelity | null
  readonly tensors: readonly TensorReport[]
  readonly modules: readonly ModuleReport[]
}

export interface ReportInput {
  readonly kind: ExpertKind
  readonly plan: TaskVectorPlan
  readonly decision: Pick<Decision, 'sigma' | 'threshold'>
  /** In table order. */
  readonly tensors: readonly { readonly name: string; readonly stats: TensorStats }[]
  readonly products: readonly ProductStats[]
  readonly bytes: FileBytes
}

export function buildReport(input: ReportInput): CompressionReport {
  const { kind, plan, decision, bytes, products } = input
  const stats = input.tensors.map((tensor) => tensor.stats)
  const total = (pick: (s: TensorStats) => number) => stats.reduce((sum, s) => sum + pick(s), 0)
  const parameters = plan.tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0)
  const ternaryParameters = total((s) => s.entries)
  const kept = total((s) => s.kept)
  const density = fraction(kept, ternaryParameters)
  const originalBytes = plan.tensors.reduce((sum, info) => sum + byteCount(info), 0)
  const ternaryBits = 8 * (bytes.total - bytes.lossless)
  const bound = layerBits({ entries: ternaryParameters, trits: sumByLayer(stats) })
  return {
    kind,
    origin: plan.origin,
    parameters,
    ternaryParameters,
    kept,
    density,
    sigma: decision.sigma,
    threshold: decision.threshold,
    originalBytes,
    bytes,
    ratio: fraction(originalBytes, bytes.total),
    bitsPerParameter: fraction(8 * bytes.total, parameters),
    ternaryBitsPerParameter: fraction(ternaryBits, ternaryParameters),
    boundBitsPerParameter: bound,
    ratioToBound: fraction(fraction(ternaryBits, ternaryParameters), bound),
    ...fidelity({
      squares: total((s) => s.sumSquares),
      quantizedSquares: total((s) => s.quantizedSquares),
      dot: total((s) => s.dot),
    }),
    product: kind === 'lora' ? productFidelity(products) : null,
    tensors: tensorReports(input),
    modules: products.map(moduleReport),
  }
}

interface Sums {
  readonly squares: number
  readonly quantizedSquares: number
  readonly dot: number
}

export function fidelity({ squares, quantizedSquares, dot }: Sums): Fidelity {
  if (squares === 0 || quantizedSquares === 0) return emptyFidelity(squares === 0 && quantizedSquares === 0)
  const normRatio = Math.sqrt(quantizedSquares / squares)
  // Cauchy-Schwarz holds for the numbers, not for their roundings.
  const cosine = Math.max(-1, Math.min(1, dot / Math.sqrt(squares * quantizedSquares)))
  return {
    relativeError: Math.sqrt(Math.max(0, 1 - 2 * cosine * normRatio + normRatio * normRatio)),
    cosine,
    normRatio,
    shrunkRelativeError: Math.abs(1 - normRatio),
  }
}

function emptyFidelity(both: boolean): Fidelity {
  return both
    ? { relativeError: 0, cosine: 1, normRatio: 1, shrunkRelativeError: 0 }
    : { relativeError: 1, cosine: 0, normRatio: 0, shrunkRelativeError: 1 }
}

function moduleReport(product: ProductStats): ModuleReport {
  const { module, rank } = product
  return { module, rank, lost: lossOf(product), ...fidelity(product) }
}

function productFidelity(products: readonly ProductStats[]): Fidelity {
  const total = (pick: (p: ProductStats) => number) => products.reduce((sum, p) => sum + pick(p), 0)
  const sums = {
    squares: total((p) => p.squares),
    quantizedSquares: total((p) => p.quantizedSquares),
    dot: total((p) => p.dot),
  }
  return fidelity(sums)
}

function tensorReports({ tensors, bytes }: ReportInput): TensorReport[] {
  const information = tensors.map(({ stats }) => stats.entries * layerBits(stats))
  const all = information.reduce((sum, bits) => sum + bits, 0)
  return tensors.map(({ name, stats }, i) => {
    const density = fraction(stats.kept, stats.entries)
    const share = fraction(information[i] as number, all)
    return {
      name,
      parameters: stats.entries,
      kept: stats.kept,
      density,
      bitsPerParameter: fraction(8 * bytes.trits * share, stats.entries),
      boundBitsPerParameter: layerBits(stats),
      ...fidelity({ ...stats, squares: stats.sumSquares }),
    }
  })
}

/** Order-0 entropy of all layers together, in bits per entry. */
function layerBits({ entries, trits }: Pick<TensorStats, 'entries' | 'trits'>): number {
  return trits.reduce((sum, nonZeros) => sum + boundBits(fraction(nonZeros, entries)), 0)
}

function sumByLayer(stats: readonly TensorStats[]): number[] {
  const layers = Math.max(0, ...stats.map(({ trits }) => trits.length))
  return Array.from({ length: layers }, (_, layer) => stats.reduce((sum, { trits }) => sum + (trits[layer] ?? 0), 0))
}

/** Order-0 entropy of trits of density k with fair signs, in bits: H(k) + k. */
export function boundBits(k: number): number {
  if (k <= 0) return 0
  const rest = k >= 1 ? 0 : (1 - k) * Math.log2(1 - k)
  return k - k * Math.log2(k) - rest
}

function fraction(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole
}

function byteCount({ dtype, shape }: TensorInfo): number {
  return isSubByte(dtype) ? 0 : elementCount(shape) * dtypeBytes(dtype)
}
