/**
 * The merge methods, one row each. All that make a model are settings of one kernel (methods/task-arithmetic.ts):
 * sparsify, weigh, elect signs, sum, divide, scale, add to the origin. A new method is a new row.
 */
export interface MergeMethod {
  readonly name: string
  /** What the result is: a whole model, or an adapter made of adapters. */
  readonly makes: 'model' | 'adapter'
  /** What differences are taken from: the base's tensor, or zero (the inputs' own values are combined). */
  readonly origin: 'base' | 'zero'
  /** How each difference is thinned out to `density`: largest magnitudes, or at random. */
  readonly sparsify: 'none' | 'magnitude' | 'random'
  /** Elect one sign per entry and drop what disagrees. */
  readonly consensus: boolean
  readonly parameters: readonly ParameterSpec[]
  readonly paper: string
}

export interface ParameterSpec {
  readonly name: ParameterName
  /** `input`: looked up for each model of the recipe; `shared`: once for the tensor. */
  readonly scope: 'input' | 'shared'
  readonly type: 'number' | 'boolean'
  /** Absent: the recipe must give it. */
  readonly fallback?: number | boolean
  readonly min?: number
  readonly max?: number
}

export type ParameterName = 'weight' | 'density' | 'normalize' | 'rescale' | 'lambda' | 'int8_mask'

const weight: ParameterSpec = { name: 'weight', scope: 'input', type: 'number' }
const density: ParameterSpec = { name: 'density', scope: 'input', type: 'number', fallback: 1, min: 0, max: 1 }
const lambda: ParameterSpec = { name: 'lambda', scope: 'shared', type: 'number', fallback: 1 }
/** mergekit's dtype of the sign mask; it has no effect on the numbers. */
const int8Mask: ParameterSpec = { name: 'int8_mask', scope: 'shared', type: 'boolean', fallback: false }

function toggle(name: 'normalize' | 'rescale', fallback: boolean): ParameterSpec {
  return { name, scope: 'shared', type: 'boolean', fallback }
}

function taskArithmetic(normalize: boolean, rescale: boolean): ParameterSpec[] {
  return [weight, density, lambda, int8Mask, toggle('normalize', normalize), toggle('rescale', rescale)]
}

export const METHODS: readonly MergeMethod[] = [
  {
    name: 'linear',
    makes: 'model',
    origin: 'zero',
    sparsify: 'none',
    consensus: false,
    parameters: [weight, toggle('normalize', true)],
    paper: 'Wortsman et al. 2022, Model soups, arXiv 2203.05482',
  },
  {
    name: 'task_arithmetic',
    makes: 'model',
    origin: 'base',
    sparsify: 'none',
    consensus: false,
    parameters: taskArithmetic(false, false),
    paper: 'Ilharco et al. 2022, Editing models with task arithmetic, arXiv 2212.04089',
  },
  {
    name: 'ties',
    makes: 'model',
    origin: 'base',
    sparsify: 'magnitude',
    consensus: true,
    parameters: taskArithmetic(true, false),
    paper: 'Yadav et al. 2023, TIES-Merging, arXiv 2306.01708',
  },
  {
    name: 'dare_linear',
    makes: 'model',
    origin: 'base',
    sparsify: 'random',
    consensus: false,
    parameters: taskArithmetic(false, true),
    paper: 'Yu et al. 2023, Language models are super Mario (DARE), arXiv 2311.03099',
  },
  {
    name: 'dare_ties',
    makes: 'model',
    origin: 'base',
    sparsify: 'random',
    consensus: true,
    parameters: taskArithmetic(false, true),
    paper: 'Yu et al. 2023 (DARE) with the sign election of TIES, arXiv 2311.03099',
  },
  {
    name: 'cat',
    makes: 'adapter',
    origin: 'zero',
    sparsify: 'none',
    consensus: false,
    parameters: [weight],
    paper: "PEFT's add_weighted_adapter, combination_type cat; LoRA: Hu et al. 2021, arXiv 2106.09685",
  },
]

/** mergekit's other parameters: harmless leftovers in a recipe of these methods, unlike a misspelt name. */
const OTHER_PARAMETERS: readonly string[] = ['gamma', 'epsilon', 't', 'scale', 'select_topk']

const KNOWN_PARAMETERS = new Set<string>([
  ...METHODS.flatMap((method) => method.parameters.map(({ name }) => name)),
  ...OTHER_PARAMETERS,
])

export function methodByName(name: string): MergeMethod | undefined {
  return METHODS.find((method) => method.name === name)
}

/** Reason why a parameter name is refused, or undefined. Which of the known ones a method uses is checked later. */
export function unknownParameter(name: string): string | undefined {
  if (KNOWN_PARAMETERS.has(name)) return undefined
  return `unknown parameter '${name}': known are ${[...KNOWN_PARAMETERS].join(', ')}`
}
