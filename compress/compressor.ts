/**
 * From an expert's files to a container: plan from headers, decide thresholds and scales, quantise and encode tensor by
 * tensor, lossless rest, report. In memory: as many tensors as the executor runs at once.
 */
import type { AdapterConfig } from '../tensors/adapter-config.ts'
import { isFloating } from '../tensors/dtype.ts'
import { elementCount } from '../tensors/tensor.ts'
import type { LocatedSource } from '../tensors/tensor-location.ts'
import { codecByName } from './codecs/codec-table.ts'
import type { ContainerHeader } from './container-table.ts'
import { ContainerWriter, type PayloadSpool } from './container-writer.ts'
import { type Decision, decide, decisionPasses } from './decide.ts'
import type { Executor } from './executor.ts'
import { inlineExecutor } from './executor-inline.ts'
import { factorLossError, factorLossWarning, type Warning } from './factor-loss.ts'
import { runInOrder } from './in-order.ts'
import { checkFinite, readLocation } from './node/tau-reader.ts'
import type { CompressOptions } from './options.ts'
import type { QuantizedPart, TensorStats } from './quantize.ts'
import type { ProductStats } from './quantize-pair.ts'
import { buildReport, type CompressionReport } from './report.ts'
import { planTaskVector, type TaskVectorInput, type TaskVectorPlan, type Unit, unitTensors } from './task-vector.ts'

/** Below this much work starting and feeding threads costs more than it saves. A LoRA module's work grows with its rank. */
const POOL_MIN_WORK = 2 ** 21
const WORK_RANK = 16

/** An expert's files, opened. A full fine-tune needs its base; for an adapter the base is recorded where it is known. */
export interface ExpertInput extends TaskVectorInput {
  readonly adapterConfig?: AdapterConfig
  readonly base?: {
    /** Read for `full` alone. */
    readonly source?: LocatedSource
    /** weightsDigest of the base. */
    readonly digest: string
    readonly repo?: string
    readonly revision?: string
  }
}

export interface CompressDeps {
  readonly executor: Executor
  /** Takes the payload; closed by whoever made it. */
  readonly spool: PayloadSpool
  readonly signal?: AbortSignal
  /** Steps done, of how many: one per unit (tensor or LoRA module) and pass, one per lossless tensor. */
  readonly onProgress?: (done: number, total: number) => void
}

export interface CompressedExpert {
  /** Bytes of the container. */
  readonly size: number
  /** The container, from its first byte. */
  stream(): AsyncIterable<Uint8Array>
  readonly report: CompressionReport
  readonly warnings: readonly Warning[]
}

/**
 * Throws BASE_REQUIRED, BASE_MISMATCH, NOT_FINITE (tensor and index), FACTOR_LOST (under `strict`), and what reading
 * the files throws. Nothing but the spool has been written then.
 */
export async function compressExpert(
  input: ExpertInput,
  options: CompressOptions,
  deps: CompressDeps,
): Promise<CompressedExpert> {
  const plan = planTaskVector(input, options)
  const job: Job = {
    input,
    options,
    plan,
    deps,
    executor: chooseExecutor(plan, deps.executor),
    step: stepper(plan, options, deps),
  }
  const decision = await decide({
    kind: input.kind,
    options,
    units: plan.units,
    executor: job.executor,
    signal: deps.signal,
    onUnit: job.step,
  })
  const writer = new ContainerWriter(containerHeader(input, options, plan), plan.tensors, {
    codec: codecByName(options.codec),
    spool: deps.spool,
    layers: options.layers,
    executor: job.executor,
    ...(deps.signal === undefined ? {} : { signal: deps.signal }),
  })
  const { tensors, products } = await encodeTrits(job, decision, writer)
  const warning = factorLossWarning(products)
  if (warning !== undefined && options.strict) throw factorLossError(warning)
  await encodeLossless(job, writer)
  const file = await writer.finish()
  const bytes = { total: file.size, ...file.bytes }
  const report = buildReport({ kind: input.kind, plan, decision, tensors, products, bytes })
  return { size: file.size, stream: () => file.stream(), report, warnings: warning === undefined ? [] : [warning] }
}

interface Job {
  readonly input: ExpertInput
  readonly options: CompressOptions
  readonly plan: TaskVectorPlan
  readonly deps: CompressDeps
  readonly executor: Executor
  /** One more step of the progress. */
  readonly step: () => void
}

function chooseExecutor({ units }: TaskVectorPlan, pool: Executor): Executor {
  return units.reduce((sum, unit) => sum + workOf(unit), 0) < POOL_MIN_WORK ? inlineExecutor() : pool
}

/** Entries; for a LoRA module as many times as its rank exceeds WORK_RANK. */
function workOf(unit: Unit): number {
  const entries = unitTensors(unit).reduce((sum, { location }) => sum + elementCount(location.shape), 0)
  return unit.kind === 'pair' ? entries * Math.max(1, unit.rank / WORK_RANK) : entries
}

function stepper(plan: TaskVectorPlan, options: CompressOptions, { onProgress }: CompressDeps): () => void {
  const total = plan.units.length * (decisionPasses(options) + 1) + plan.lossless.length
  let done = 0
  return () => onProgress?.(++done, total)
}

function containerHeader(
  { kind, source, adapterConfig, base }: ExpertInput,
  options: CompressOptions,
  plan: TaskVectorPlan,
): ContainerHeader {
  return {
    kind,
    origin: plan.origin,
    base:
      base === undefined
        ? null
        : {
            digest: base.digest,
            ...(base.repo === undefined ? {} : { repo: base.repo }),
            ...(base.revision === undefined ? {} : { revision: base.revision }),
          },
    options: { ...options },
    metadata: source.metadata,
    ...(adapterConfig === undefined ? {} : { adapterConfig: adapterConfig.raw }),
    baseNames: plan.baseNames,
  }
}

interface Encoded {
  /** In table order. */
  readonly tensors: { readonly name: string; readonly stats: TensorStats }[]
  readonly products: ProductStats[]
}

/** Units come back in table order of their first tensor; a tensor ahead of its turn waits. */
async function encodeTrits(
  { options, plan, deps, executor, step }: Job,
  decision: Decision,
  writer: ContainerWriter,
): Promise<Encoded> {
  const order = plan.tensors.filter(({ storage }) => storage === 'trits').map(({ name }) => name)
  const waiting = new Map<string, QuantizedPart>()
  const encoded: Encoded = { tensors: [], products: [] }
  const writeReady = async () => {
    for (;;) {
      const name = order[encoded.tensors.length]
      const part = name === undefined ? undefined : waiting.get(name)
      if (name === undefined || part === undefined) return
      waiting.delete(name)
      await writer.addTrits(name, part.quantized)
      encoded.tensors.push({ name, stats: part.stats })
    }
  }
  await runInOrder({
    items: plan.units,
    width: executor.width,
    signal: deps.signal,
    start: (unit, stop) =>
      executor.run('quantizeUnit', { unit, transform: options.transform, rules: decision.rulesFor(unit) }, stop),
    consume: async ({ parts, product }) => {
      for (const part of parts) waiting.set(part.name, part)
      if (product !== null) encoded.products.push(product)
      await writeReady()
      step()
    },
  })
  return encoded
}

async function encodeLossless({ plan, deps, step }: Job, writer: ContainerWriter): Promise<void> {
  for (const { info, location, reference } of plan.lossless) {
    deps.signal?.throwIfAborted()
    const bytes = await readLocation(location, deps.signal)
    if (isFloating(info.dtype)) checkFinite(info.name, bytes, info.dtype)
    const base = reference === undefined ? undefined : await readLocation(reference, deps.signal)
    await writer.addLossless(info.name, bytes, base)
    step()
  }
}
