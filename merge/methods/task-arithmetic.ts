/**
 * Generalised task arithmetic: the one kernel behind every method that makes a model.
 *
 *   d_i = sparsify(x_i - b)          D_i = w_i d_i
 *   with consensus: g = sum D_i >= 0 ? +1 : -1, and only the D_i of that sign count (a zero never does)
 *   num = sum D_i                    div = sum of the weights that count (0 becomes 1)
 *   out = b + lambda * (normalize ? num / div : num)
 *
 * `linear` is the same with an origin of zero in the place of b. Everything is f32, each operation rounded once, in
 * the order of the step's inputs, which makes the numbers those of mergekit in float32.
 */
import { addDifference, addRounded, addValue } from '../add-input.ts'
import { type MergeStep, type StepInput, sumOfWeights } from '../plan-step.ts'
import type { Scratch } from '../scratch.ts'
import { yieldToEvents } from '../yield-to-events.ts'
import { electAndSum } from './elect-signs.ts'
import { maskKey } from './random-mask.ts'
import { changesNothing, sparsify } from './sparsify.ts'

/** Below this a sum of weights is not used as a divisor. */
const SMALLEST_DIVISOR = 1e-8

export interface MergedTensor {
  /** In scratch memory: valid until the next tensor. */
  readonly values: Float32Array
  /** L2 norm of what was added to the base; null where there is no base to compare with. */
  readonly deltaNorm: number | null
  /** Of the entries that any input changes, the share where inputs pull in both directions; null without consensus. */
  readonly signConflictShare: number | null
  /** Of the non-zero entries of the inputs' differences, the share that sparsifying dropped; null where none did. */
  readonly trimmedShare: number | null
}

interface Trim {
  before: number
  after: number
}

/** Values of one output tensor of `count` entries. `name` keys the random masks. */
export async function mergeTensor(
  step: MergeStep,
  name: string,
  count: number,
  scratch: Scratch,
  signal?: AbortSignal,
): Promise<MergedTensor> {
  if (step.method.origin === 'zero') return averageValues(step, count, scratch, signal)
  if (!step.base) throw new Error(`${step.method.name} was planned without a base`)
  const base = await step.base.source.read(step.base.name, signal)
  if (base.length !== count) throw new Error(`tensor ${name} has ${base.length} entries, planned were ${count}`)
  const trim: Trim = { before: 0, after: 0 }
  const { num, conflicts } = step.method.consensus
    ? await sumOfElected(step, name, base, scratch, trim, signal)
    : await sum(step, name, base, scratch, trim, signal)
  const deltaNorm = addToBase(num, base, Math.fround(step.lambda))
  const trimmedShare = trim.before > 0 ? 1 - trim.after / trim.before : null
  return { values: num, deltaNorm, signConflictShare: conflicts, trimmedShare }
}

async function averageValues(
  step: MergeStep,
  count: number,
  scratch: Scratch,
  signal?: AbortSignal,
): Promise<MergedTensor> {
  const needsBase = step.inputs.some(({ parts, weight }) => weight !== 0 && !parts.some(({ kind }) => kind === 'full'))
  const base = needsBase && step.base ? await step.base.source.read(step.base.name, signal) : undefined
  const acc = scratch.take(0, count)
  for (const { parts, weight } of step.inputs) {
    if (weight !== 0) await addValue(acc, parts, base, weight, signal)
    await yieldToEvents(signal)
  }
  if (step.normalize) divide(acc, sumOfWeights(step))
  return { values: acc, deltaNorm: base ? distance(acc, base) : null, signConflictShare: null, trimmedShare: null }
}

interface Summed {
  readonly num: Float32Array
  readonly conflicts: number | null
}

/** Without consensus one difference at a time is enough; sources that can are never made dense. */
async function sum(
  step: MergeStep,
  name: string,
  base: Float32Array,
  scratch: Scratch,
  trim: Trim,
  signal?: AbortSignal,
): Promise<Summed> {
  const num = scratch.take(0, base.length)
  for (const input of activeInputs(step)) {
    if (changesNothing({ rule: step.method.sparsify, density: input.density })) {
      await addDifference(num, input.parts, base, input.weight, signal)
    } else {
      const delta = await readSparsified(step, input, name, base, scratch.take(1, base.length), trim, signal)
      addRounded(num, delta, Math.fround(input.weight))
    }
    await yieldToEvents(signal)
  }
  if (step.normalize) {
    const divisor = sumOfWeights(step)
    if (Math.abs(divisor) >= SMALLEST_DIVISOR) divide(num, divisor)
  }
  return { num, conflicts: null }
}

async function sumOfElected(
  step: MergeStep,
  name: string,
  base: Float32Array,
  scratch: Scratch,
  trim: Trim,
  signal?: AbortSignal,
): Promise<Summed> {
  const inputs = activeInputs(step)
  const weighted: Float32Array[] = []
  for (const [index, input] of inputs.entries()) {
    const buffer = scratch.take(index, base.length)
    const delta = await readSparsified(step, input, name, base, buffer, trim, signal)
    multiply(delta, Math.fround(input.weight))
    weighted.push(delta)
    await yieldToEvents(signal)
  }
  const weights = inputs.map(({ weight }) => Math.fround(weight))
  const { num, conflictShare } = electAndSum(weighted, weights, step.normalize)
  await yieldToEvents(signal)
  return { num, conflicts: conflictShare }
}

/** An input of weight 0, or one that does not touch the tensor, adds nothing and never matches a sign. */
function activeInputs({ inputs }: MergeStep): StepInput[] {
  return inputs.filter(({ parts, weight }) => parts.length > 0 && weight !== 0)
}

async function readSparsified(
  step: MergeStep,
  input: StepInput,
  name: string,
  base: Float32Array,
  buffer: Float32Array,
  trim: Trim,
  signal?: AbortSignal,
): Promise<Float32Array> {
  await addDifference(buffer, input.parts, base, 1, signal)
  const { density, identity } = input
  const sparsity = { rule: step.method.sparsify, density, rescale: step.rescale }
  if (changesNothing(sparsity)) return buffer
  trim.before += countNonZero(buffer)
  sparsify(buffer, { ...sparsity, key: maskKey(step.seed, identity, name) })
  trim.after += countNonZero(buffer)
  return buffer
}

/** num = base + lambda * num. Where nothing is added the base stays bit for bit, also -0. Returns |lambda * num|. */
function addToBase(num: Float32Array, base: Float32Array, lambda: number): number {
  let squares = 0
  for (let i = 0; i < num.length; i++) {
    const delta = Math.fround(num[i]! * lambda)
    squares += delta * delta
    num[i] = delta === 0 ? base[i]! : base[i]! + delta
  }
  return Math.sqrt(squares)
}

function multiply(values: Float32Array, factor: number): void {
  if (factor === 1) return
  for (let i = 0; i < values.length; i++) values[i] = values[i]! * factor
}

function divide(values: Float32Array, divisor: number): void {
  if (divisor === 1) return
  for (let i = 0; i < values.length; i++) values[i] = values[i]! / divisor
}

function distance(a: Float32Array, b: Float32Array): number {
  let squares = 0
  for (let i = 0; i < a.length; i++) squares += (a[i]! - b[i]!) ** 2
  return Math.sqrt(squares)
}

function countNonZero(values: Float32Array): number {
  let count = 0
  for (let i = 0; i < values.length; i++) if (values[i] !== 0) count++
  return count
}
