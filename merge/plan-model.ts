/** The plan of a merge whose result is a whole model: one step for each tensor of the base. */
import { isFloating } from '../tensors/dtype.ts'
import type { TensorInfo } from '../tensors/tensor.ts'
import { byName, type FullPart, type Layout, layOut, stackLayouts } from './contribution.ts'
import { MergeError } from './errors.ts'
import type { MergeInput } from './input.ts'
import { layerDepths } from './layer-depth.ts'
import type { MergeMethod } from './methods/method-table.ts'
import { checkMadeFrom, type OpenedInput, type OpenedInputs } from './open-inputs.ts'
import type { PlacedInput, Reference } from './placed-input.ts'
import { ENGINE_VERSION, planDigest } from './plan-digest.ts'
import { ParameterLookup } from './plan-parameters.ts'
import { askedDtype, type ConfigPatch, type MergePlan, type TensorStep } from './plan-step.ts'
import { planTensor } from './plan-tensor.ts'
import type { Recipe } from './recipe.ts'
import { recipeError } from './recipe-cursor.ts'
import { findTiedHead, withHead } from './tied-head.ts'

interface PlannedTensor {
  readonly info: TensorInfo
  readonly step: TensorStep
}

export function planModel(
  recipe: Recipe,
  method: MergeMethod,
  opened: OpenedInputs,
  warnings: readonly string[],
): MergePlan {
  const inputs = canonicalOrder(method, opened)
  const reference = referenceOf(opened.base, inputs)
  const found = inputs.map((input) => ({ opened: input, layout: place(input, reference, method) }))
  const tied = findTiedHead(
    reference.names,
    found.map(({ layout }) => layout),
  )
  const placed = tied
    ? found.map((input) => ({ ...input, layout: withHead(input.layout, tied, isWholeModel(input.opened, reference)) }))
    : found
  checkComplete(placed, reference)
  const names = [...reference.names.keys()]
  const context = {
    recipe,
    method,
    reference,
    inputs: placed,
    lookup: new ParameterLookup(recipe, method, layerDepths(names)),
    warnings: new Set(warnings),
  }
  const planned: PlannedTensor[] = names.map((name) => planTensor(context, reference.names.get(name)!, name))
  if (tied?.unties) planned.push(planTensor(context, { ...tied.embedding, name: tied.head }, tied.embedding.name))
  planned.push(...planExtras(recipe, placed, context.warnings))
  return assemble(recipe, method, inputs, opened.base, planned, [...context.warnings], tied?.unties === true)
}

/**
 * Sums of floating numbers depend on their order, and a merge must not depend on the order of the recipe's list: the
 * inputs are taken in the order of their identities. A base that is listed among the models merges nothing.
 */
function canonicalOrder(method: MergeMethod, { base, inputs }: OpenedInputs): OpenedInput[] {
  const merged = method.origin === 'zero' ? inputs : inputs.filter(({ input, upper }) => upper || !isBase(input, base))
  return [...merged].sort((a, b) => (a.identity === b.identity ? 0 : a.identity < b.identity ? -1 : 1))
}

function referenceOf(base: MergeInput | null, inputs: readonly OpenedInput[]): Reference {
  if (base) return { names: byName(base.source.tensors), source: base.source, base }
  const relative = inputs.find(({ input }) => input.kind !== 'model')
  if (relative) {
    throw recipeError(
      { key: 'base_model', line: undefined },
      `missing: '${relative.recipe.ref.text}' is a difference to a base, not a whole model`,
      { input: relative.recipe.ref.text },
    )
  }
  const { source } = inputs[0]!.input
  return { names: byName(source.tensors), source, base: null }
}

function place({ input, upper }: OpenedInput, reference: Reference, method: MergeMethod): Layout {
  const own = isBase(input, reference.base)
  const isDifference = input.kind !== 'model' || method.origin === 'base'
  if (reference.base && isDifference && !own) checkMadeFrom(input, reference.base)
  const lower = own ? { parts: new Map(), extras: new Map() } : layOut(input, reference.names)
  if (!upper) return lower
  checkMadeFrom(upper, input)
  return stackLayouts(lower, layOut(upper, reference.names))
}

function isBase(input: MergeInput, base: MergeInput | null): boolean {
  return input.kind === 'model' && input.identity === base?.identity
}

/** Whether the input brings a value of its own for every tensor, rather than a change to the base's. */
function isWholeModel({ input }: OpenedInput, { base }: Reference): boolean {
  return input.kind === 'model' && !isBase(input, base)
}

/** In a whole model a missing tensor is a mistake; in a difference it means "unchanged". */
function checkComplete(placed: readonly PlacedInput[], reference: Reference): void {
  for (const { opened, layout } of placed) {
    if (!isWholeModel(opened, reference)) continue
    for (const { name, dtype, shape } of reference.names.values()) {
      if (layout.parts.has(name) || !isFloating(dtype)) continue
      const ref = opened.recipe.ref.text
      throw new MergeError(
        'SHAPE_MISMATCH',
        `tensor ${name}: ${ref} does not have it, expected shape [${shape.join(', ')}]. A whole model must have ` +
          'every tensor; publish a partial checkpoint as an expert of its base, where a missing tensor means unchanged',
        { tensor: name, input: ref, shape: null, baseShape: shape },
      )
    }
  }
}

/**
 * Whole tensors that the base does not have, such as a classifier. One input's is kept as it is; there is no merging
 * the heads of several tasks, so of several inputs none is.
 */
function planExtras(recipe: Recipe, placed: readonly PlacedInput[], warnings: Set<string>): PlannedTensor[] {
  const owners = new Map<string, { ref: string; part: FullPart }[]>()
  for (const { opened, layout } of placed) {
    for (const [name, part] of layout.extras) {
      owners.set(name, [...(owners.get(name) ?? []), { ref: opened.recipe.ref.text, part }])
    }
  }
  const planned: PlannedTensor[] = []
  for (const [name, [first, ...others]] of owners) {
    if (!first) continue
    if (others.length > 0) {
      const refs = [first, ...others].map(({ ref }) => ref).join(', ')
      warnings.add(`${name} is not in the base and comes with ${refs}: left out, take it from the one you want`)
      continue
    }
    const { source, info } = first.part
    const dtype = isFloating(info.dtype) ? (askedDtype(recipe) ?? info.dtype) : info.dtype
    planned.push({ info: { ...info, name, dtype }, step: { how: 'copy', source, info, others: [] } })
  }
  return planned
}

function assemble(
  recipe: Recipe,
  method: MergeMethod,
  inputs: readonly OpenedInput[],
  base: MergeInput | null,
  planned: readonly PlannedTensor[],
  warnings: readonly string[],
  untied: boolean,
): MergePlan {
  const tensors = planned.map(({ info }) => info)
  const steps = planned.map(({ step }) => step)
  const digest = planDigest({
    engine: ENGINE_VERSION,
    method: method.name,
    base: base?.identity ?? null,
    inputs: inputs.map(({ identity, input, upper }) => ({
      identity,
      configs: [input.adapterConfig?.raw ?? null, upper?.adapterConfig?.raw ?? null],
    })),
    tensors,
    settings: steps.map(settingsOf),
  })
  return {
    recipe,
    digest,
    tensors,
    steps,
    metadata: { format: 'pt' },
    outputKind: 'model',
    configPatch: configPatchOf(tensors, untied),
    mergekitConfig: recipe.yaml,
    warnings,
  }
}

/** The numbers that decide a step's result besides the inputs themselves, which the digest names. */
function settingsOf(step: TensorStep): unknown {
  if (step.how !== 'merge') return step.how
  const { normalize, rescale, lambda, seed, method } = step
  return {
    inputs: step.inputs.map(({ weight, density }) => [weight, density]),
    normalize,
    rescale,
    lambda,
    ...(method.sparsify === 'random' ? { seed } : {}),
  }
}

const TORCH_NAMES: Readonly<Record<string, NonNullable<ConfigPatch['dtype']>>> = {
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
}

/** The dtype most of the floating values have. */
function configPatchOf(tensors: readonly TensorInfo[], untied: boolean): ConfigPatch {
  const counts = new Map<string, number>()
  for (const { dtype, shape } of tensors) {
    if (isFloating(dtype)) counts.set(dtype, (counts.get(dtype) ?? 0) + shape.reduce((a, b) => a * b, 1))
  }
  const most = [...counts].sort(([, a], [, b]) => b - a)[0]?.[0]
  const dtype = most === undefined ? undefined : TORCH_NAMES[most]
  return { ...(dtype ? { dtype } : {}), ...(untied ? { untied: true } : {}) }
}
