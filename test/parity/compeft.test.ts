/** The trits and scales of real experts against numpy: golden/compeft/README.md says where the numbers come from. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Decision, decide } from '../../compress/decide.ts'
import { inlineExecutor } from '../../compress/executor-inline.ts'
import { kernels } from '../../compress/kernels/default.ts'
import { type ExpertKind, type RawOptions, resolveOptions } from '../../compress/options.ts'
import { INDEX_MASK, type QuantizedTensor, SIGN_BIT } from '../../compress/quantized-tensor.ts'
import { planTaskVector } from '../../compress/task-vector.ts'
import { TASKS } from '../../compress/tasks.ts'
import { keepCount, tensorThreshold } from '../../compress/threshold.ts'
import { compareNames } from '../../tensors/compare-names.ts'
import { openModelFolder } from '../../tensors/node/model-folder.ts'
import { fixturesDir } from '../fixtures/fixtures-dir.ts'

interface Case {
  readonly density: number
  readonly kept: number
  readonly threshold: number
  readonly ties_at_threshold: number
  readonly sha256_global: string
  readonly mean_scale: number
  readonly norm_scale: number
  readonly sha256_tensor: string
  readonly kept_tensor: number
}

interface ExpertGolden {
  readonly tensors: number
  readonly entries: number
  readonly sigma: number
  readonly cases: readonly Case[]
}

interface DebsectionGolden {
  readonly d: number
  readonly order: readonly string[]
  readonly std_float64: number
  readonly cases: readonly {
    readonly k: number
    readonly kept: number
    readonly threshold: number
    readonly positives: number
    readonly sha256_ternary_int8: string
    readonly mean_abs_kept: number
    readonly pertensor: {
      readonly sha256_ternary_int8: string
      readonly std: Readonly<Record<string, number>>
      readonly mean_abs_kept: Readonly<Record<string, number>>
    }
  }[]
  readonly edge: Readonly<Record<string, { in: number[]; k: number; ternary: number[] }>>
}

interface SvdGolden {
  readonly density: number
  readonly modules: Readonly<Record<string, { kept_a: number[]; kept_b: number[]; scales: number[]; cosine: number }>>
}

function golden<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(`./golden/compeft/${file}`, import.meta.url), 'utf8')) as T
}

const debsection = golden<DebsectionGolden>('lora-debsection.json')
const fixtures = golden<
  Record<'lora-smollm2/debsection' | 'full/debsection', ExpertGolden> & { svd_components: SvdGolden }
>('fixtures.json')
const dir = fixturesDir()

interface Quantized {
  readonly decision: Decision
  /** In name order. */
  readonly tensors: readonly { readonly name: string; readonly quantized: QuantizedTensor }[]
}

async function quantize(expert: string, kind: ExpertKind, raw: RawOptions): Promise<Quantized> {
  const source = await openModelFolder(join(dir!, expert))
  const base = kind === 'full' ? await openModelFolder(join(dir!, 'base-minilm')) : undefined
  onTestFinished(async () => {
    await source.close?.()
    await base?.close?.()
  })
  const options = resolveOptions(kind, { transform: 'none', layers: 1, ...raw })
  const { units } = planTaskVector({ kind, source, ...(base ? { base: { source: base } } : {}) }, options)
  const decision = await decide({ kind, options, units, executor: inlineExecutor(), onUnit: () => {} })
  const parts = []
  for (const unit of units) {
    const outcome = await TASKS.quantizeUnit({ unit, transform: 'none', rules: decision.rulesFor(unit) })
    parts.push(...outcome.parts)
  }
  return { decision, tensors: parts.sort((a, b) => compareNames(a.name, b.name)) }
}

function int8(tensors: readonly { quantized: QuantizedTensor }[]): Int8Array {
  const out = new Int8Array(tensors.reduce((sum, { quantized: { rows, cols } }) => sum + rows * cols, 0))
  let offset = 0
  for (const { quantized } of tensors) {
    for (const p of quantized.positions) out[offset + (p & INDEX_MASK)] = p >= SIGN_BIT ? -1 : 1
    offset += quantized.rows * quantized.cols
  }
  return out
}

function sha256(trits: Int8Array): string {
  return createHash('sha256').update(trits).digest('hex')
}

function scaleOf({ tensors }: Quantized, name?: string): number {
  const tensor = name === undefined ? tensors[0] : tensors.find((candidate) => candidate.name === name)
  return tensor!.quantized.scales.values[0]!
}

describe('edge cases', () => {
  test.each(Object.entries(debsection.edge))(
    'the vector "%s" gives the trits of numpy',
    (_, { in: values, k, ternary }) => {
      const tau = Float32Array.from(values)
      const { thresholdBits, ties } = tensorThreshold(tau, keepCount(tau.length, k))
      const positions = kernels().select(tau, thresholdBits, ties)
      const scales = { axis: 'tensor', values: Float32Array.of(1) } as const
      expect([...int8([{ quantized: { rows: 1, cols: tau.length, positions, scales } }])]).toEqual(ternary)
    },
  )
})

describe.skipIf(!dir)('an f32 LoRA', () => {
  test('has the entries, the order and the sigma of numpy', async () => {
    const { decision, tensors } = await quantize('lora/debsection', 'lora', { scope: 'global', scale: 'std' })
    expect(tensors.map(({ name }) => name)).toEqual(debsection.order)
    const { d, std_float64 } = debsection
    expect(int8(tensors).length).toBe(d)
    expect(decision.sigma! / (std_float64 * Math.sqrt(d / (d - 1)))).toBeCloseTo(1, 12)
  })

  test.each(debsection.cases)('under one threshold at density $k has the trits and scales of numpy', async (wanted) => {
    const raw: RawOptions = { density: wanted.k, scope: 'global', scale: 'mean' }
    const quantized = await quantize('lora/debsection', 'lora', raw)
    const trits = int8(quantized.tensors)
    expect({
      kept: trits.filter((trit) => trit !== 0).length,
      positives: trits.filter((trit) => trit > 0).length,
      threshold: quantized.decision.threshold,
      sha256: sha256(trits),
    }).toEqual({
      kept: wanted.kept,
      positives: wanted.positives,
      threshold: wanted.threshold,
      sha256: wanted.sha256_ternary_int8,
    })
    expect(scaleOf(quantized) / wanted.mean_abs_kept).toBeCloseTo(1, 6)
  })

  test.each(debsection.cases)('under a threshold per tensor at density $k has those of numpy', async (wanted) => {
    const raw: RawOptions = { density: wanted.k, scope: 'tensor' }
    const mean = await quantize('lora/debsection', 'lora', { ...raw, scale: 'mean' })
    expect(sha256(int8(mean.tensors))).toBe(wanted.pertensor.sha256_ternary_int8)
    for (const [name, value] of Object.entries(wanted.pertensor.mean_abs_kept)) {
      expect(scaleOf(mean, name) / value).toBeCloseTo(1, 6)
    }
    const std = await quantize('lora/debsection', 'lora', { ...raw, scale: 'std' })
    for (const [name, value] of Object.entries(wanted.pertensor.std)) {
      const { rows, cols } = std.tensors.find((tensor) => tensor.name === name)!.quantized
      expect(scaleOf(std, name) / (value * Math.sqrt((rows * cols) / (rows * cols - 1)))).toBeCloseTo(1, 6)
    }
  })
})

describe.skipIf(!dir).each([
  ['a bf16 LoRA', 'lora-smollm2/debsection', 'lora-smollm2/debsection', 'lora'],
  ['a full fine-tune', 'full/debsection/partial.safetensors', 'full/debsection', 'full'],
] as const)('%s', (_, path, key, kind) => {
  const wanted = fixtures[key]

  test.each(wanted.cases)('under one threshold at density $density has the trits and scales of numpy', async (c) => {
    const quantized = await quantize(path, kind, { density: c.density, scope: 'global', scale: 'mean' })
    const trits = int8(quantized.tensors)
    expect({
      tensors: quantized.tensors.length,
      entries: trits.length,
      kept: trits.filter((trit) => trit !== 0).length,
      threshold: quantized.decision.threshold,
      sha256: sha256(trits),
    }).toEqual({
      tensors: wanted.tensors,
      entries: wanted.entries,
      kept: c.kept,
      threshold: c.threshold,
      sha256: c.sha256_global,
    })
    expect(quantized.decision.sigma! / wanted.sigma).toBeCloseTo(1, 12)
    expect(scaleOf(quantized) / c.mean_scale).toBeCloseTo(1, 6)
  })

  test('meets ties at the threshold, more than it keeps', () => {
    expect(Math.min(...wanted.cases.map((c) => c.ties_at_threshold))).toBeGreaterThan(1)
  })

  test('under a threshold per tensor at density 0.05 has the trits of numpy', async () => {
    const c = wanted.cases.find(({ density }) => density === 0.05)!
    const trits = int8((await quantize(path, kind, { density: 0.05, scope: 'tensor', scale: 'mean' })).tensors)
    expect(trits.filter((trit) => trit !== 0).length).toBe(c.kept_tensor)
    expect(sha256(trits)).toBe(c.sha256_tensor)
  })
})

describe.skipIf(!dir)('a full fine-tune with the norm kept', () => {
  test('has the scale of numpy', async () => {
    const c = fixtures['full/debsection'].cases.find(({ density }) => density === 0.1)!
    const quantized = await quantize('full/debsection/partial.safetensors', 'full', { density: 0.1 })
    // Above density 0.05 the default is 1.15 times the norm: ALGORITHM.md, section 6.
    expect(scaleOf(quantized) / c.norm_scale).toBeCloseTo(1.15, 6)
  })
})

describe.skipIf(!dir)('a LoRA in the svd gauge', () => {
  test('keeps what numpy keeps in each component, with the same product scales and cosine', async () => {
    const source = await openModelFolder(join(dir!, 'lora/debsection'))
    onTestFinished(() => source.close?.())
    const { density, modules } = fixtures.svd_components
    const options = resolveOptions('lora', { density })
    let compared = 0
    for (const unit of planTaskVector({ kind: 'lora', source }, options).units) {
      const wanted = unit.kind === 'pair' ? modules[unit.module] : undefined
      if (wanted === undefined) continue
      compared++
      const rules = { mask: { scope: 'tensor', density }, scale: { kind: 'component' }, layers: 1, gain: 1 } as const
      const { parts, product } = await TASKS.quantizeUnit({ unit, transform: 'svd', rules })
      const [a, b] = parts.map(({ quantized }) => quantized)
      wanted.scales.forEach((scale, i) => {
        const difference = a!.scales.values[i]! * b!.scales.values[i]! - scale ** 2
        expect(Math.abs(difference)).toBeLessThanOrEqual(2e-3 * scale ** 2)
      })
      const { rowCounts } = kernels().marginals(a!.positions, a!.rows, a!.cols)
      const { colCounts } = kernels().marginals(b!.positions, b!.rows, b!.cols)
      // Two entries within f32 rounding of the threshold may change places.
      rowCounts.forEach((count, i) => {
        expect(Math.abs(count - wanted.kept_a[i]!)).toBeLessThanOrEqual(1)
      })
      colCounts.forEach((count, i) => {
        expect(Math.abs(count - wanted.kept_b[i]!)).toBeLessThanOrEqual(1)
      })
      const { dot, squares, quantizedSquares } = product!
      expect(dot / Math.sqrt(squares * quantizedSquares)).toBeCloseTo(wanted.cosine, 4)
    }
    expect(compared).toBe(6)
  })
})
