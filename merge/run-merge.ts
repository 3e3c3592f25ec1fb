/**
 * Carries out a plan, one tensor after the other, into a sink. Memory: (inputs + 2) times the largest tensor in f32
 * for methods that elect signs, 3 times for the others; never the model.
 */
import { fromF32 } from '../tensors/dtype.ts'
import { dataBytes } from '../tensors/safetensors-header.ts'
import { elementCount, type TensorInfo, type TensorSink } from '../tensors/tensor.ts'
import { mergeTensor } from './methods/task-arithmetic.ts'
import type { CopyStep, MergePlan, TensorStep } from './plan-step.ts'
import { Scratch } from './scratch.ts'
import { stackFactors } from './stack-factors.ts'
import { yieldToEvents } from './yield-to-events.ts'

export interface MergeReport {
  /** One for each output tensor, in order. */
  readonly tensors: readonly TensorReport[]
  /** L2 norm of everything that was added to the base; null where there is no base to compare with. */
  readonly deltaNorm: number | null
  readonly outputBytes: number
  /** The plan's warnings, and what only the data could show. */
  readonly warnings: readonly string[]
}

export interface TensorReport {
  readonly name: string
  /** `copied`: taken over from one input or the base. `stacked`: factors of several adapters. */
  readonly action: 'copied' | 'merged' | 'stacked'
  /** L2 norm of what was added to the base; null where it was not measured (copied and stacked tensors). */
  readonly deltaNorm: number | null
  /** Of the entries that any input changes, the share where inputs disagree in sign; null without sign election. */
  readonly signConflictShare: number | null
  /** Of the inputs' non-zero differences, the share that was dropped; null where nothing is thinned out. */
  readonly trimmedShare: number | null
}

export interface MergeRunOptions {
  readonly signal?: AbortSignal
  /** Output bytes of tensor data so far, and in all. */
  readonly onProgress?: (done: number, total: number) => void
}

interface Result {
  readonly bytes: Uint8Array
  readonly report: Omit<TensorReport, 'name'>
}

/** Streams the result into `sink`. Rejects with the signal's reason when aborted; the sink is then not ended. */
export async function runMerge(plan: MergePlan, sink: TensorSink, o: MergeRunOptions = {}): Promise<MergeReport> {
  const { signal, onProgress } = o
  const total = dataBytes(plan.tensors)
  const scratch = new Scratch(largestMerged(plan))
  const warnings = [...plan.warnings]
  const tensors: TensorReport[] = []
  let done = 0
  signal?.throwIfAborted()
  await sink.begin(plan.tensors, plan.metadata)
  for (const [index, info] of plan.tensors.entries()) {
    const { bytes, report } = await runStep(plan.steps[index]!, info, scratch, warnings, signal)
    await sink.write(info.name, bytes)
    tensors.push({ name: info.name, ...report })
    done += bytes.byteLength
    onProgress?.(done, total)
    await yieldToEvents(signal)
  }
  await sink.end()
  return { tensors, deltaNorm: wholeNorm(tensors), outputBytes: done, warnings }
}

async function runStep(
  step: TensorStep,
  info: TensorInfo,
  scratch: Scratch,
  warnings: string[],
  signal?: AbortSignal,
): Promise<Result> {
  if (step.how === 'copy') {
    return { bytes: await copyTensor(step, info, warnings, signal), report: { action: 'copied', ...UNKNOWN } }
  }
  if (step.how === 'stack') {
    const values = await stackFactors(step, signal)
    return { bytes: fromF32(values, info.dtype), report: { action: 'stacked', ...UNKNOWN } }
  }
  const { values, ...numbers } = await mergeTensor(step, info.name, elementCount(info.shape), scratch, signal)
  return { bytes: fromF32(values, info.dtype), report: { action: 'merged', ...numbers } }
}

const UNKNOWN = { deltaNorm: null, signConflictShare: null, trimmedShare: null } as const

async function copyTensor(
  { source, info, others }: CopyStep,
  target: TensorInfo,
  warnings: string[],
  signal?: AbortSignal,
): Promise<Uint8Array> {
  if (info.dtype !== target.dtype) return fromF32(await source.read(info.name, signal), target.dtype)
  const bytes = await source.readBytes(info.name, signal)
  for (const other of others) {
    const same = equalBytes(bytes, await other.source.readBytes(other.name, signal))
    if (!same) warnings.push(`${target.name} (${target.dtype}) of ${other.ref} differs from the base's, which was kept`)
  }
  return bytes
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && a.every((byte, i) => byte === b[i])
}

function largestMerged({ tensors, steps }: MergePlan): number {
  const counts = tensors.map(({ shape }, index) => (steps[index]?.how === 'merge' ? elementCount(shape) : 0))
  return counts.reduce((largest, count) => Math.max(largest, count), 0)
}

function wholeNorm(tensors: readonly TensorReport[]): number | null {
  const norms = tensors.flatMap(({ deltaNorm }) => (deltaNorm === null ? [] : [deltaNorm]))
  return norms.length === 0 ? null : Math.sqrt(norms.reduce((sum, norm) => sum + norm * norm, 0))
}
