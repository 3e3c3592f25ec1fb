/** adapter_config.json of stacked adapters. */
import type { AdapterConfig, LoraPair } from '../tensors/adapter-config.ts'
import type { TensorInfo } from '../tensors/tensor.ts'
import type { MergeInput } from './input.ts'
import type { RecipeInput } from './recipe.ts'

/** One adapter of the recipe, its factors paired. */
export interface StackedAdapter {
  readonly recipe: RecipeInput
  readonly input: MergeInput
  readonly config: AdapterConfig
  readonly pairs: ReadonlyMap<string, LoraPair>
  readonly saved: readonly TensorInfo[]
}

/**
 * The first adapter's configuration with the new ranks. alpha equals the rank everywhere, so PEFT's scaling is 1: the
 * adapters' own scalings are already in A. Where modules differ in rank (not every adapter changes every module),
 * rank_pattern and alpha_pattern name them.
 */
export function stackedConfig(
  adapters: readonly StackedAdapter[],
  ranks: ReadonlyMap<string, number>,
): Record<string, unknown> {
  const { raw } = adapters[0]!.config
  const r = mostFrequent([...ranks.values()])
  const pattern = rankPattern(ranks, r)
  const saved = adapters.filter((adapter) => adapter.saved.length > 0)
  const modulesToSave = [...new Set(saved.flatMap(({ config }) => config.modulesToSave))]
  return {
    ...raw,
    r,
    lora_alpha: r,
    rank_pattern: pattern,
    alpha_pattern: pattern,
    use_rslora: false,
    init_lora_weights: true,
    inference_mode: true,
    bias: saved.map(({ config }) => config.bias).find((bias) => bias !== 'none') ?? 'none',
    target_modules: targetModules(adapters, ranks),
    // Chosen by listing the modules, so the rules that chose them no longer apply.
    layers_to_transform: null,
    layers_pattern: null,
    exclude_modules: null,
    modules_to_save: modulesToSave.length > 0 ? modulesToSave : null,
    base_model_name_or_path: commonBase(adapters),
  }
}

/** A key matches every module that ends with it; `^` ties it to the whole name where that would be several. */
function rankPattern(ranks: ReadonlyMap<string, number>, r: number): Record<string, number> {
  const modules = [...ranks.keys()]
  const others = [...ranks].filter(([, rank]) => rank !== r)
  return Object.fromEntries(
    others.map(([module, rank]) => [modules.some((name) => name.endsWith(`.${module}`)) ? `^${module}` : module, rank]),
  )
}

/** The adapters' own list where they agree on it and on the modules; else every module by its whole name. */
function targetModules(adapters: readonly StackedAdapter[], ranks: ReadonlyMap<string, number>): readonly string[] {
  const [list] = adapters.map(targetList)
  const agree = adapters.every((adapter) => targetList(adapter)?.join() === list?.join())
  const sameModules = adapters.every(({ pairs }) => pairs.size === ranks.size)
  return list && agree && sameModules ? list : [...ranks.keys()].sort()
}

/** The target modules, sorted, where a bare list of names is all that chose the adapter's modules. */
function targetList({ config }: StackedAdapter): string[] | undefined {
  const { targetModules: target, raw } = config
  const restricted = [raw.layers_to_transform, raw.exclude_modules].some((rule) => rule !== undefined && rule !== null)
  return Array.isArray(target) && !restricted ? [...target].sort() : undefined
}

function commonBase(adapters: readonly StackedAdapter[]): string | null {
  const names = new Set(adapters.map(({ config }) => config.baseModelNameOrPath))
  return names.size === 1 ? ([...names][0] ?? null) : null
}

function mostFrequent(values: readonly number[]): number {
  const counts = new Map<number, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return [...counts].sort(([a, i], [b, j]) => j - i || b - a)[0]?.[0] ?? 1
}
