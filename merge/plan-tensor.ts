/** Decides how one output tensor is made, and takes the short cuts whose result is known exactly. */
import { type Dtype, isFloating } from '../tensors/dtype.ts'
import type { TensorInfo } from '../tensors/tensor.ts'
import type { FullPart, Part } from './contribution.ts'
import { MergeError } from './errors.ts'
import type { MergeMethod } from './methods/method-table.ts'
import type { PlacedInput, Reference } from './placed-input.ts'
import type { ParameterLookup } from './plan-parameters.ts'
import {
  askedDtype,
  type CopyStep,
  type MergeStep,
  type StepInput,
  sumOfWeights,
  type TensorStep,
} from './plan-step.ts'
import type { Recipe } from './recipe.ts'
import { recipeError } from './recipe-cursor.ts'

export interface PlanContext {
  readonly recipe: Recipe
  readonly method: MergeMethod
  readonly reference: Reference
  readonly inputs: readonly PlacedInput[]
  readonly lookup: ParameterLookup
  readonly warnings: Set<string>
}

const INTEGER = /^(?:[IU]\d+|BOOL)$/

/** `baseName` is the tensor that the base has for it: another one only for an output layer that gets untied. */
export function planTensor(
  context: PlanContext,
  target: TensorInfo,
  baseName: string,
): { info: TensorInfo; step: TensorStep } {
  checkDtypes(context, target)
  if (!isFloating(target.dtype)) return { info: target, step: copyUnmerged(context, target) }
  const step = mergeStep(context, target, baseName)
  const info = { ...target, dtype: outputDtype(context, target) }
  return { info, step: exactly(context, step) ?? step }
}

/** Integers are not averaged: they are the base's, and ought to be everyone's. Also F8 that no input changes. */
function copyUnmerged({ reference, inputs }: PlanContext, target: TensorInfo): CopyStep {
  const others = inputs.flatMap(({ opened, layout }) => {
    const part = layout.parts.get(target.name)?.[0]
    return part?.kind === 'full' ? [{ ref: opened.recipe.ref.text, source: part.source, name: part.info.name }] : []
  })
  return { how: 'copy', source: reference.source, info: target, others }
}

function mergeStep(context: PlanContext, target: TensorInfo, baseName: string): MergeStep {
  const { method, lookup, reference, recipe } = context
  const { name } = target
  const inputs: StepInput[] = context.inputs.map(({ opened, layout }) => ({
    identity: opened.identity,
    parts: layout.parts.get(name) ?? [],
    weight: lookup.number('weight', name, opened.recipe),
    density: lookup.number('density', name, opened.recipe),
  }))
  const step: MergeStep = {
    how: 'merge',
    method,
    base: reference.base ? { source: reference.source, name: baseName } : null,
    inputs,
    normalize: lookup.flag('normalize', name),
    rescale: lookup.flag('rescale', name),
    lambda: lookup.number('lambda', name),
    seed: recipe.randomSeed,
  }
  checkWeights(context, step, name)
  return step
}

function checkWeights({ method, recipe, warnings }: PlanContext, step: MergeStep, tensor: string): void {
  if (!step.normalize) return
  if (method.origin === 'zero' && sumOfWeights(step) === 0) {
    throw recipeError(recipe.method.place, `the weights for tensor ${tensor} sum to 0, so they cannot be normalized`, {
      tensor,
    })
  }
  const weights = step.inputs.map(({ weight }) => weight)
  if (weights.some((weight) => weight > 0) && weights.some((weight) => weight < 0)) {
    warnings.add('weights of both signs are divided by their sum (normalize): the result can be far larger than asked')
  }
}

/**
 * A copy where arithmetic would only add rounding: nothing changes the base's tensor, or one whole tensor is taken
 * with a factor of exactly 1.
 */
function exactly(context: PlanContext, step: MergeStep): CopyStep | undefined {
  const active = step.inputs.filter(({ weight, parts }) => weight !== 0 && parts.length > 0)
  const { method, base } = step
  if (method.origin === 'base') {
    if (base && (active.length === 0 || step.lambda === 0)) return copyOf(baseInfo(context, base.name), base.source)
    const [only] = active
    const full = active.length === 1 && only && wholeTensor(only.parts)
    return full && factorOfDifference(step, only) === 1 ? copyOf(full.info, full.source) : undefined
  }
  const weighty = step.inputs.filter(({ weight }) => weight !== 0)
  if (base && active.length === 0 && step.normalize) return copyOf(baseInfo(context, base.name), base.source)
  const [only] = weighty
  const full = weighty.length === 1 && only && wholeTensor(only.parts)
  return full && (step.normalize || only.weight === 1) ? copyOf(full.info, full.source) : undefined
}

function factorOfDifference(step: MergeStep, { weight, density }: StepInput): number {
  if (step.method.sparsify !== 'none' && density < 1) return Number.NaN
  if (!step.normalize) return weight * step.lambda
  return (step.method.consensus ? 1 : Math.fround(weight) / sumOfWeights(step)) * step.lambda
}

function wholeTensor(parts: readonly Part[]): FullPart | undefined {
  const [part] = parts
  return parts.length === 1 && part?.kind === 'full' ? part : undefined
}

function baseInfo({ reference }: PlanContext, name: string): TensorInfo {
  return reference.names.get(name)!
}

function copyOf(info: TensorInfo, source: CopyStep['source']): CopyStep {
  return { how: 'copy', source, info, others: [] }
}

/** What the recipe asks for, else the widest of the base and the models: differences and adapters follow the base. */
function outputDtype({ recipe, inputs, warnings }: PlanContext, target: TensorInfo): Dtype {
  const dtypes = inputs.flatMap(({ layout }) =>
    (layout.parts.get(target.name) ?? []).flatMap((part) =>
      part.kind === 'full' && part.ofModel ? [part.info.dtype] : [],
    ),
  )
  const dtype = askedDtype(recipe) ?? dtypes.reduce(promote, target.dtype)
  if (dtype === 'F64') warnings.add('F64 tensors are merged in f32 arithmetic')
  return dtype
}

function promote(a: Dtype, b: Dtype): Dtype {
  if (a === b) return a
  return a === 'F64' || b === 'F64' ? 'F64' : 'F32'
}

/** F8 and packed formats need scales that stand in other tensors, so their values alone mean nothing. */
function checkDtypes({ inputs, reference }: PlanContext, target: TensorInfo): void {
  for (const { opened, layout } of inputs) {
    for (const part of layout.parts.get(target.name) ?? []) {
      if (isMergeable(part, target.dtype)) continue
      const dtype = part.kind === 'full' ? part.info.dtype : 'the difference'
      const ref = opened.recipe.ref.text
      const against = reference.base?.ref ?? 'the first model'
      throw new MergeError(
        'MERGE_UNSUPPORTED',
        `tensor ${target.name}: ${dtype} of ${ref} cannot be merged with ${target.dtype} of ${against}; ` +
          'convert both to bfloat16, float16 or float32 first',
        { tensor: target.name, input: ref, dtype, baseDtype: target.dtype },
      )
    }
  }
}

function isMergeable(part: Part, target: Dtype): boolean {
  if (isFloating(target)) return part.kind !== 'full' || isFloating(part.info.dtype)
  if (!INTEGER.test(target)) return false
  return part.kind === 'delta' || (part.kind === 'full' && part.info.dtype === target)
}
