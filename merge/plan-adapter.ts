/**
 * The plan of `cat`: LoRA adapters stacked into one. With A = [w1 s1 A1; w2 s2 A2; ...] and B = [B1 B2 ...] the
 * product B.A is the weighted sum of the adapters' own, exactly; the rank is the sum of the ranks. (PEFT's
 * add_weighted_adapter, combination_type "cat".)
 */
import { adapterRole, type LoraPair, loraScaling, moduleOf, pairLora } from '../tensors/adapter-config.ts'
import { isFloating } from '../tensors/dtype.ts'
import type { TensorInfo } from '../tensors/tensor.ts'
import { plainLoraConfig } from './adapter-features.ts'
import { byName, layOut } from './contribution.ts'
import { MergeError } from './errors.ts'
import type { MergeInput } from './input.ts'
import { layerDepths } from './layer-depth.ts'
import type { MergeMethod } from './methods/method-table.ts'
import { checkMadeFrom, type OpenedInput, type OpenedInputs } from './open-inputs.ts'
import { ENGINE_VERSION, planDigest } from './plan-digest.ts'
import { ParameterLookup } from './plan-parameters.ts'
import { askedDtype, type MergePlan, type StackFactor, type TensorStep } from './plan-step.ts'
import type { Recipe } from './recipe.ts'
import { recipeError } from './recipe-cursor.ts'
import { type StackedAdapter, stackedConfig } from './stacked-config.ts'

interface Planned {
  readonly info: TensorInfo
  readonly step: TensorStep
}

/** One adapter's share of a module. */
interface Member {
  readonly adapter: StackedAdapter
  readonly pair: LoraPair
  readonly weight: number
}

export function planAdapter(
  recipe: Recipe,
  method: MergeMethod,
  opened: OpenedInputs,
  warnings: readonly string[],
): MergePlan {
  const adapters = opened.inputs.map(readAdapter)
  if (opened.base) checkAgainst(opened.base, adapters)
  checkOrientation(adapters)
  const modules = [...new Set(adapters.flatMap(({ pairs }) => [...pairs.keys()]))]
  const lookup = new ParameterLookup(recipe, method, layerDepths(modules.map((module) => `${module}.weight`)))
  const planned = modules.flatMap((module) => {
    const members = adapters.flatMap((adapter): Member[] => {
      const pair = adapter.pairs.get(module)
      return pair ? [{ adapter, pair, weight: lookup.number('weight', `${module}.weight`, adapter.recipe) }] : []
    })
    return planModule(recipe, members)
  })
  const ranks = new Map(modules.map((module) => [module, rankOf(module, adapters)]))
  planned.push(...planSaved(recipe, adapters))
  const adapterConfig = stackedConfig(adapters, ranks)
  const tensors = planned.map(({ info }) => info)
  const steps = planned.map(({ step }) => step)
  return {
    recipe,
    digest: digestOf(method, adapters, tensors, steps),
    tensors,
    steps,
    metadata: { format: 'pt' },
    outputKind: 'adapter',
    adapterConfig,
    configPatch: {},
    mergekitConfig: recipe.yaml,
    warnings,
  }
}

function readAdapter({ recipe, input, upper }: OpenedInput): StackedAdapter {
  if (upper) {
    throw recipeError(recipe.place, `'${recipe.ref.text}' is base+adapter: cat stacks adapters, name the adapter alone`)
  }
  if (input.kind !== 'lora') {
    throw recipeError(recipe.place, `'${recipe.ref.text}' is not a LoRA adapter: cat stacks LoRA adapters`, {
      model: recipe.ref.text,
      kind: input.kind,
    })
  }
  const config = plainLoraConfig(input)
  const pairs = new Map(pairLora(input.source.tensors).map((pair) => [pair.module, pair]))
  const saved = input.source.tensors.filter(({ name }) => adapterRole(name) === 'saved')
  return { recipe, input, config, pairs, saved }
}

/** Where the recipe names a base, the adapters must fit on it: BASE_DIFFERS or SHAPE_MISMATCH otherwise. */
function checkAgainst(base: MergeInput, adapters: readonly StackedAdapter[]): void {
  const names = byName(base.source.tensors)
  for (const { input } of adapters) {
    checkMadeFrom(input, base)
    layOut(input, names)
  }
}

function checkOrientation(adapters: readonly StackedAdapter[]): void {
  const [first] = adapters
  const other = adapters.find(({ config }) => config.fanInFanOut !== first?.config.fanInFanOut)
  if (!first || !other) return
  throw new MergeError(
    'MERGE_UNSUPPORTED',
    `fan_in_fan_out is ${first.config.fanInFanOut} in ${first.input.ref} and ${other.config.fanInFanOut} in ` +
      `${other.input.ref}: one adapter cannot be both`,
    { feature: 'fan_in_fan_out', inputs: [first.input.ref, other.input.ref] },
  )
}

function rankOf(module: string, adapters: readonly StackedAdapter[]): number {
  return adapters.reduce((sum, { pairs }) => sum + (pairs.get(module)?.rank ?? 0), 0)
}

function planModule(recipe: Recipe, members: readonly Member[]): Planned[] {
  for (const side of ['a', 'b'] as const) checkSides(side, members)
  return [planFactor(recipe, members, 'a', 0), planFactor(recipe, members, 'b', 1)]
}

function planFactor(recipe: Recipe, members: readonly Member[], side: 'a' | 'b', axis: 0 | 1): Planned {
  const factors = members.map(({ adapter, pair, weight }): StackFactor => {
    const scaling = loraScaling(adapter.config, pair.module, pair.rank)
    const { source } = adapter.input
    return { source, info: infoOf(adapter, pair[side]), multipliers: side === 'a' ? [weight, scaling] : [] }
  })
  const { name, shape } = factors[0]!.info
  const rank = members.reduce((sum, { pair }) => sum + pair.rank, 0)
  const stacked = shape.map((size, i) => (i === axis ? rank : size))
  // f32 by default, as PEFT trains: scaled factors rounded to bf16 would no longer sum exactly.
  return { info: { name, shape: stacked, dtype: askedDtype(recipe) ?? 'F32' }, step: { how: 'stack', axis, factors } }
}

function infoOf({ input }: StackedAdapter, name: string): TensorInfo {
  return input.source.tensors.find((tensor) => tensor.name === name)!
}

/** All shapes but for the rank must agree, and a module must be an embedding for all or for none. */
function checkSides(side: 'a' | 'b', members: readonly Member[]): void {
  const [first, ...others] = members
  if (!first) return
  const expected = infoOf(first.adapter, first.pair[side])
  for (const { adapter, pair } of others) {
    const info = infoOf(adapter, pair[side])
    const rankAxis = side === 'a' ? 0 : 1
    const same = (size: number, i: number) => i === rankAxis || size === expected.shape[i]
    const fits = info.shape.length === expected.shape.length && info.shape.every(same)
    if (fits && pair.embedding === first.pair.embedding) continue
    throw new MergeError(
      'SHAPE_MISMATCH',
      `tensor ${info.name}: ${adapter.input.ref} has shape [${info.shape.join(', ')}], ` +
        `${first.adapter.input.ref} has [${expected.shape.join(', ')}] for the same module`,
      { tensor: info.name, input: adapter.input.ref, shape: info.shape, otherShape: expected.shape },
    )
  }
}

/** A trained head or bias belongs to one task: kept where one adapter has it, refused where several do. */
function planSaved(recipe: Recipe, adapters: readonly StackedAdapter[]): Planned[] {
  const owners = new Map<string, string>()
  const planned: Planned[] = []
  for (const { input, saved } of adapters) {
    for (const info of saved) {
      const module = moduleOf(info.name)
      const other = owners.get(module)
      if (other !== undefined) throw savedTwice(module, other, input.ref)
      owners.set(module, input.ref)
      const dtype = isFloating(info.dtype) ? (askedDtype(recipe) ?? info.dtype) : info.dtype
      planned.push({ info: { ...info, dtype }, step: { how: 'copy', source: input.source, info, others: [] } })
    }
  }
  return planned
}

function savedTwice(module: string, first: string, second: string): MergeError {
  return new MergeError(
    'MERGE_UNSUPPORTED',
    `${first} and ${second} both bring a whole tensor ${module} (modules_to_save or a bias), and stacking cannot ` +
      'combine whole tensors: remove it from all adapters but one',
    { feature: 'modules_to_save', tensor: module, inputs: [first, second] },
  )
}

/** Stacking keeps the recipe's order, so the order counts here. */
function digestOf(
  method: MergeMethod,
  adapters: readonly StackedAdapter[],
  tensors: readonly TensorInfo[],
  steps: readonly TensorStep[],
): string {
  return planDigest({
    engine: ENGINE_VERSION,
    method: method.name,
    inputs: adapters.map(({ input, config }) => ({ identity: input.identity, config: config.raw })),
    tensors,
    settings: steps.map((step) =>
      step.how === 'stack' ? step.factors.map(({ multipliers }) => multipliers) : step.how,
    ),
  })
}
