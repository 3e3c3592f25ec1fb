/** What a plan holds: for every output tensor, in order, the one step that makes it. Only data; run-merge.ts acts. */
import type { TensorInfo, TensorSource } from '../tensors/tensor.ts'
import type { Part } from './contribution.ts'
import type { MergeMethod } from './methods/method-table.ts'
import type { OutputDtype, Recipe } from './recipe.ts'

export interface MergePlan {
  readonly recipe: Recipe
  /** `sha256:<hex>` over the normalised recipe, the inputs' identities and the engine's version. */
  readonly digest: string
  /** The output's tensors, in the order of the file. */
  readonly tensors: readonly TensorInfo[]
  readonly metadata: Readonly<Record<string, string>>
  readonly outputKind: 'model' | 'adapter'
  /** The content of adapter_config.json, for an adapter. */
  readonly adapterConfig?: Readonly<Record<string, unknown>>
  /** What config.json of the base must say differently, for a model. */
  readonly configPatch: ConfigPatch
  /** Text for `mergekit_config.yml`. */
  readonly mergekitConfig: string
  readonly warnings: readonly string[]
  /** One for each of `tensors`. */
  readonly steps: readonly TensorStep[]
}

export interface ConfigPatch {
  readonly dtype?: 'float32' | 'float16' | 'bfloat16'
  /** The output has an output layer of its own where the base's was tied to the embedding. */
  readonly untied?: boolean
}

export type TensorStep = CopyStep | MergeStep | StackStep

/** The tensor of one source, converted where the output's dtype differs. */
export interface CopyStep {
  readonly how: 'copy'
  readonly source: TensorSource
  readonly info: TensorInfo
  /** Integer tensors of other inputs that ought to be equal; a difference is reported. */
  readonly others: readonly { readonly ref: string; readonly source: TensorSource; readonly name: string }[]
}

export interface MergeStep {
  readonly how: 'merge'
  readonly method: MergeMethod
  readonly base: { readonly source: TensorSource; readonly name: string } | null
  readonly inputs: readonly StepInput[]
  readonly normalize: boolean
  readonly rescale: boolean
  readonly lambda: number
  readonly seed: number
}

export interface StepInput {
  readonly identity: string
  /** Empty: the input leaves this tensor as the base has it. */
  readonly parts: readonly Part[]
  readonly weight: number
  readonly density: number
}

/** Factors of several adapters one above the other (lora_A) or side by side (lora_B). */
export interface StackStep {
  readonly how: 'stack'
  /** 0: rows are appended. 1: columns are. */
  readonly axis: 0 | 1
  readonly factors: readonly StackFactor[]
}

export interface StackFactor {
  readonly source: TensorSource
  readonly info: TensorInfo
  /** Multiplied one after the other, each product rounded to f32, as PEFT does. */
  readonly multipliers: readonly number[]
}

/** The dtype that the recipe asks for, or null for "as the inputs". */
export function askedDtype(recipe: Recipe): OutputDtype | null {
  return recipe.outDtype ?? recipe.dtype
}

/** In f32, one after the other: the divisor that the kernel uses. */
export function sumOfWeights({ inputs }: MergeStep): number {
  return inputs.reduce((sum, { weight }) => Math.fround(sum + Math.fround(weight)), 0)
}
