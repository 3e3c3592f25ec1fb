/**
 * Measures what every preset keeps and costs and prints the tables of docs/results.md: compresses each fixture, reconstructs it, has an
 * independent evaluator score it, and compares with the controls: the base alone, the original, and the original merely
 * scaled to the norm that ComPEFT's setting leaves. Not part of the ordinary tests: it takes an hour and needs Python
 * with torch, transformers and peft.
 *
 *     PYTHON=/path/to/python node scripts/evaluate/results.ts WORK_DIR > tables.md
 *
 * Scores are kept in WORK_DIR/scores.json, so that a run that was stopped goes on. Without PYTHON sizes and errors alone.
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromF32, toF32 } from '../../tensors/dtype.ts'
import { fileSink } from '../../tensors/node/file-source.ts'
import { openModelFolder } from '../../tensors/node/model-folder.ts'
import { SafetensorsWriter } from '../../tensors/safetensors-writer.ts'
import { fixturesDir } from '../../test/fixtures/fixtures-dir.ts'

const FIXTURES = fixturesDir()
if (FIXTURES === undefined) throw new Error('no fixtures: set TERN_FIXTURES')
const WORK = process.argv[2]
if (WORK === undefined) throw new Error('usage: results.ts WORK_DIR')
mkdirSync(WORK, { recursive: true })

interface Fixture {
  readonly name: string
  readonly expert: string
  readonly task?: string
  readonly full?: boolean
}

const LORAS: readonly Fixture[] = ['debsection', 'wnnoun', 'moviesent'].map((task) => ({
  name: `lora/${task}`,
  expert: join(FIXTURES, 'lora', task),
  task,
}))
const SMOL: Fixture = { name: 'lora-smollm2/debsection', expert: join(FIXTURES, 'lora-smollm2/debsection') }
const FULL: Fixture = {
  name: 'full/debsection',
  expert: join(FIXTURES, 'full/debsection/partial.safetensors'),
  task: 'debsection',
  full: true,
}

/** What compress-fixture.ts prints, as far as it is used here. */
interface Report {
  readonly ternaryParameters: number
  readonly bytes: { readonly total: number; readonly lossless: number }
  readonly product: { readonly relativeError: number; readonly normRatio: number } | null
  readonly relativeError: number
  readonly normRatio: number
}

interface Score {
  readonly accuracy: number
  readonly nll: number
}

function compress(fixture: Fixture, options: readonly string[], out: string): Report {
  const script = join(import.meta.dirname, 'compress-fixture.ts')
  const base = fixture.full === true ? ['--base', join(FIXTURES as string, 'base-minilm')] : []
  const args = [script, fixture.expert, out, ...base, ...options]
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as Report
}

const SCORES_FILE = join(WORK, 'scores.json')
const scores: Record<string, Score> = existsSync(SCORES_FILE) ? JSON.parse(readFileSync(SCORES_FILE, 'utf8')) : {}

/** `key` must change when the artefact does. */
function score(key: string, fixture: Fixture, artefact: string): Score | undefined {
  const python = process.env.PYTHON
  if (fixture.task === undefined) return undefined
  if (scores[key] !== undefined || python === undefined) return scores[key]
  const f = FIXTURES as string
  const data = join(f, 'data', fixture.task, 'test.jsonl')
  const args = [join(f, 'eval/eval_minilm.py'), join(f, 'base-minilm'), artefact, data, '--head', fixture.expert]
  const printed = execFileSync(python, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  scores[key] = JSON.parse(printed.trim().split('\n').at(-1) as string) as Score
  writeFileSync(SCORES_FILE, JSON.stringify(scores, undefined, 1))
  return scores[key]
}

/** The adapter with its update scaled by `factor`, half of it in each of the two factors. */
async function writeScaled(fixture: Fixture, factor: number, out: string): Promise<void> {
  mkdirSync(out, { recursive: true })
  const source = await openModelFolder(fixture.expert)
  const sink = await fileSink(join(out, 'adapter_model.safetensors'))
  const writer = new SafetensorsWriter(sink)
  await writer.begin(source.tensors, source.metadata)
  for (const { name, dtype } of source.tensors) {
    const bytes = await source.readBytes(name)
    const scaled = () =>
      fromF32(
        toF32(bytes, dtype).map((value) => value * Math.sqrt(factor)),
        dtype,
      )
    await writer.write(name, /lora_[AB]\./.test(name) ? scaled() : bytes)
  }
  await writer.end()
  copyFileSync(join(fixture.expert, 'adapter_config.json'), join(out, 'adapter_config.json'))
}

interface Row {
  readonly label: string
  readonly bytes?: number
  readonly parameters?: number
  readonly error?: number
  readonly score?: Score | undefined
}

const SETTINGS: Readonly<Record<string, readonly string[]>> = {
  faithful: ['preset=faithful'],
  balanced: ['preset=balanced'],
  small: ['preset=small'],
  'paper (0.1, alpha 1)': ['preset=paper'],
}

async function rowsOf(fixture: Fixture): Promise<Row[]> {
  const out = join(WORK as string, 'artefact')
  const controls = [
    { label: 'base alone', score: score(`${fixture.name} base`, fixture, 'base') },
    { label: 'original', score: score(`${fixture.name} original`, fixture, fixture.expert) },
  ]
  const rows: Row[] = fixture.task === undefined ? [] : controls
  for (const [label, options] of Object.entries(SETTINGS)) {
    const report = compress(fixture, options, out)
    const { bytes, ternaryParameters, product } = report
    const size = bytes.total - bytes.lossless * (fixture.full === true ? 0 : 1)
    const error = product?.relativeError ?? report.relativeError
    const key = `${fixture.name} ${options.join(' ')} ${bytes.total} ${error}`
    const scored = score(key, fixture, fixture.full === true ? join(out, 'model.safetensors') : out)
    rows.push({ label, bytes: size, parameters: ternaryParameters, error, score: scored })
    if (label.startsWith('paper') && product !== null && fixture.task !== undefined) {
      await writeScaled(fixture, product.normRatio, out)
      const text = `original times ${product.normRatio.toFixed(3)}`
      rows.push({ label: text, score: score(`${fixture.name} ${text}`, fixture, out) })
    }
    process.stderr.write(`${fixture.name} ${label}\n`)
  }
  return rows
}

function table(fixture: Fixture, rows: readonly Row[]): string {
  const [base, original] = fixture.task === undefined ? [] : rows.map((row) => row.score)
  const head = ['setting', 'bytes', 'below f16', 'bits/param', fixture.full === true ? 'error' : 'error of B.A']
  const more = base && original ? ['accuracy', 'nll', 'gain kept (accuracy)', 'gain kept (nll)'] : []
  const lines = rows.map(({ label, bytes, parameters, error, score: s }) => {
    const size =
      bytes === undefined || parameters === undefined
        ? ['', '', '']
        : [String(bytes), `${((2 * parameters) / bytes).toFixed(1)}x`, ((8 * bytes) / parameters).toFixed(3)]
    const kept = (pick: (score: Score) => number) =>
      s && base && original ? percent((pick(s) - pick(base)) / (pick(original) - pick(base))) : ''
    const judged = more.length === 0 ? [] : [s?.accuracy.toFixed(4), s?.nll.toFixed(3)]
    const shares = more.length === 0 ? [] : [kept((x) => x.accuracy), kept((x) => x.nll)]
    return [label, ...size, error?.toFixed(3) ?? '', ...judged, ...shares]
  })
  const all = [[...head, ...more], [...head, ...more].map((_, i) => (i === 0 ? '---' : '---:')), ...lines]
  return `### ${fixture.name}\n\n${all.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`
}

/** Alphas that the paper searches, and a little beyond. */
const ALPHAS = [0.5, 1, 2, 3, 4, 5, 6, 8, 10]

/** Error of B.A at the bytes of the paper's trits, each with the alpha that is best for the error. */
function equalBytes(fixture: Fixture): string {
  const out = join(WORK as string, 'artefact')
  const size = ({ bytes }: Report) => bytes.total - bytes.lossless
  const cells = ['global', 'tensor'].map((scope) => {
    const tries = ALPHAS.map((alpha) => compress(fixture, ['preset=paper', `scope=${scope}`, `alpha=${alpha}`], out))
    return tries.reduce((best, one) =>
      (one.product?.relativeError ?? 1) < (best.product?.relativeError ?? 1) ? one : best,
    )
  })
  const budget = Math.min(...cells.map(size))
  let low = 0.02
  let high = 0.3
  let ours: Report | undefined
  for (let step = 0; step < 7; step++) {
    const density = (low + high) / 2
    const report = compress(fixture, [`density=${density}`], out)
    if (size(report) > budget) high = density
    else {
      low = density
      ours = report
    }
  }
  const errors = cells.map((cell) => cell.product?.relativeError ?? Number.NaN)
  const own = ours?.product?.relativeError ?? Number.NaN
  const less = percent(1 - own / Math.min(...errors))
  const shown = [...cells.flatMap((cell, i) => [size(cell), (errors[i] as number).toFixed(3)]), ours ? size(ours) : '']
  return `| ${[fixture.name, ...shown, own.toFixed(3), less].join(' | ')} |`
}

const parts: string[] = []
for (const fixture of [...LORAS, FULL, SMOL]) parts.push(table(fixture, await rowsOf(fixture)))
parts.push(
  [
    '### At the bytes of the paper at density 0.1\n',
    '| fixture | paper: bytes | error | paper per tensor: bytes | error | Tern: bytes | error | less by |',
    '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...[...LORAS, SMOL].map(equalBytes),
    '',
  ].join('\n'),
)
console.log(parts.join('\n'))
