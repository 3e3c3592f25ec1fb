/**
 * Exact sizes: adapter x density x codec -> bench/results/ratio.csv. No times, so the file is the same on every
 * machine and is reviewed as a diff. usage: node bench/ratio.ts   (with the large fixtures if TERN_FIXTURES names them)
 *
 * bound: entries * (H(p) + p) bits with p = non-zeros / entries over all ternary tensors of the file, which is what
 * ComPEFT (arXiv 2311.13171, section 2.2) takes as the least a ternary vector costs.
 * golomb: gaps of the one concatenated vector in a Golomb code with the best divisor, plus a sign bit each.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openExpertFolder } from '../cli/expert-folder.ts'
import { compressExpert } from '../compress/compressor.ts'
import { openContainer } from '../compress/container-reader.ts'
import { memoryPayload } from '../compress/container-writer.ts'
import { inlineExecutor } from '../compress/executor-inline.ts'
import { type ExpertKind, type RawOptions, resolveOptions } from '../compress/options.ts'
import { INDEX_MASK } from '../compress/quantized-tensor.ts'
import { memorySource } from '../tensors/byte-source.ts'
import { openModelFolder } from '../tensors/node/model-folder.ts'
import { weightsDigest } from '../tensors/node/weights-digest.ts'
import { elementCount } from '../tensors/tensor.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const FIXTURES = process.env.TERN_FIXTURES ?? join(ROOT, '../shared/fixtures')
const DENSITIES = [0.05, 0.1, 0.2, 0.5]
const CODECS = ['sgr', 'rice', 'bitplane'] as const

interface Case {
  readonly name: string
  readonly folder: string
  readonly base?: string
  readonly presets: readonly string[]
}

const CASES: readonly Case[] = [
  { name: 'examples/debsection', folder: join(ROOT, 'examples/debsection'), presets: ['plain', 'paper'] },
  { name: 'examples/wnnoun', folder: join(ROOT, 'examples/wnnoun'), presets: ['plain', 'paper'] },
  { name: 'lora/debsection', folder: join(FIXTURES, 'lora/debsection'), presets: ['plain', 'paper'] },
  { name: 'lora/wnnoun', folder: join(FIXTURES, 'lora/wnnoun'), presets: ['plain', 'paper'] },
  { name: 'lora/moviesent', folder: join(FIXTURES, 'lora/moviesent'), presets: ['plain', 'paper'] },
  { name: 'lora-smollm2/debsection', folder: join(FIXTURES, 'lora-smollm2/debsection'), presets: ['plain'] },
  {
    name: 'full/debsection',
    folder: join(FIXTURES, 'full/debsection/partial.safetensors'),
    base: join(FIXTURES, 'base-minilm'),
    presets: ['plain'],
  },
]

/** One layer of trits, as the codecs that are compared know nothing else: what is measured here is the coding alone. */
const SETTINGS: Readonly<Record<string, (kind: ExpertKind) => RawOptions>> = {
  plain: (kind) => ({ scale: 'norm', layers: 1, ...(kind === 'lora' && { transform: 'svd', scope: 'tensor' }) }),
  paper: () => ({ preset: 'paper' }),
}

const COLUMNS = [
  'expert',
  'preset',
  'density',
  'codec',
  'file_bytes',
  'table_bytes',
  'scales_bytes',
  'trits_bytes',
  'lossless_bytes',
  'entries',
  'nonzeros',
  'file_bits_per_entry',
  'trits_bits_per_entry',
  'bound_bits_per_entry',
  'trits_to_bound',
  'golomb_bytes',
  'trits_to_golomb',
] as const

type Row = Record<(typeof COLUMNS)[number], string | number>

interface Trits {
  readonly entries: number
  readonly nonzeros: number
  readonly golombBytes: number
}

async function measure(one: Case, preset: string, density: number): Promise<Row[]> {
  const rows: Row[] = []
  let trits: Trits | undefined
  for (const codec of CODECS) {
    const bytes = await compress(one, preset, { density, codec })
    const container = await openContainer(memorySource(bytes))
    trits ??= await countTrits(container)
    const { entries, nonzeros, golombBytes } = trits
    const bound = boundBits(nonzeros / entries)
    rows.push({
      expert: one.name,
      preset,
      density,
      codec,
      file_bytes: bytes.byteLength,
      table_bytes: container.bytes.table,
      scales_bytes: container.bytes.scales,
      trits_bytes: container.bytes.trits,
      lossless_bytes: container.bytes.lossless,
      entries,
      nonzeros,
      file_bits_per_entry: ((bytes.byteLength * 8) / entries).toFixed(4),
      trits_bits_per_entry: ((container.bytes.trits * 8) / entries).toFixed(4),
      bound_bits_per_entry: bound.toFixed(4),
      trits_to_bound: ((container.bytes.trits * 8) / entries / bound).toFixed(4),
      golomb_bytes: golombBytes,
      trits_to_golomb: (container.bytes.trits / golombBytes).toFixed(4),
    })
  }
  return rows
}

async function compress(one: Case, preset: string, raw: RawOptions): Promise<Uint8Array> {
  const expert = await openExpertFolder(one.folder)
  const base = one.base === undefined ? undefined : await openModelFolder(one.base)
  const spool = memoryPayload()
  const executor = inlineExecutor()
  try {
    const input = { ...expert, ...(base && { base: { source: base, digest: await weightsDigest(base) } }) }
    const compressed = await compressExpert(
      input,
      resolveOptions(expert.kind, { ...SETTINGS[preset]?.(expert.kind), ...raw }),
      { executor, spool },
    )
    const chunks: Uint8Array[] = []
    for await (const chunk of compressed.stream()) chunks.push(chunk)
    return Buffer.concat(chunks)
  } finally {
    await spool.close()
    await executor.close()
    await base?.close?.()
    await expert.source.close?.()
  }
}

/** Entries, non-zeros and gaps of the one vector that the ternary tensors make when laid end to end, in table order. */
async function countTrits(container: Awaited<ReturnType<typeof openContainer>>): Promise<Trits> {
  const gaps: number[] = []
  let entries = 0
  let previous = -1
  for (const tensor of container.tensors) {
    if (tensor.storage !== 'trits') continue
    for (const position of (await container.readTrits(tensor.name)).positions) {
      const index = entries + (position & INDEX_MASK)
      gaps.push(index - previous - 1)
      previous = index
    }
    entries += elementCount(tensor.shape)
  }
  return { entries, nonzeros: gaps.length, golombBytes: Math.ceil((golombBits(gaps) + gaps.length) / 8) }
}

/** H(p) + p bits: where the non-zeros are, and one sign bit for each. */
function boundBits(p: number): number {
  if (p <= 0 || p >= 1) return p
  return -p * Math.log2(p) - (1 - p) * Math.log2(1 - p) + p
}

/** Bits of the gaps under the best Golomb divisor (quotient unary, remainder truncated binary). */
function golombBits(gaps: readonly number[]): number {
  if (gaps.length === 0) return 0
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length
  // The optimum lies at about 0.69 * mean for geometric gaps; real ones are clustered, so look around widely.
  let best = Number.POSITIVE_INFINITY
  for (let divisor = 1; divisor <= Math.max(2, Math.ceil(2 * mean)); divisor += 1) {
    best = Math.min(best, bitsWithDivisor(gaps, divisor))
  }
  return best
}

function bitsWithDivisor(gaps: readonly number[], divisor: number): number {
  const width = Math.ceil(Math.log2(divisor))
  const short = 2 ** width - divisor
  let bits = 0
  for (const gap of gaps) bits += Math.floor(gap / divisor) + 1 + (gap % divisor < short ? width - 1 : width)
  return bits
}

const rows: Row[] = []
for (const one of CASES) {
  if (!existsSync(one.folder)) {
    console.error(`left out, not at hand: ${one.name}`)
    continue
  }
  for (const preset of one.presets) {
    for (const density of DENSITIES) {
      const measured = await measure(one, preset, density)
      rows.push(...measured)
      console.error(
        `${one.name} ${preset} ${density}: ${measured.map((row) => `${row.codec} ${row.file_bytes}`).join(', ')}`,
      )
    }
  }
}
const csv = [COLUMNS.join(','), ...rows.map((row) => COLUMNS.map((column) => row[column]).join(','))].join('\n')
mkdirSync(join(ROOT, 'bench/results'), { recursive: true })
writeFileSync(join(ROOT, 'bench/results/ratio.csv'), `${csv}\n`)
