/** Checks a recipe's parameters against its method, and looks them up for one tensor. */
import type { MergeMethod, ParameterName, ParameterSpec } from './methods/method-table.ts'
import { allValues, type ParameterEntry, type ParameterMap, type ParameterValue, parameterFor } from './parameters.ts'
import type { Recipe, RecipeInput } from './recipe.ts'
import { recipeError } from './recipe-cursor.ts'

/** Returns warnings for parameters that the method does not use. RECIPE_INVALID for a value out of range. */
export function checkParameters(recipe: Recipe, method: MergeMethod): string[] {
  const warnings = new Set<string>()
  for (const parameters of [recipe.parameters, ...recipe.inputs.map((input) => input.parameters)]) {
    for (const [name, entry] of parameters) {
      const spec = method.parameters.find((candidate) => candidate.name === name)
      if (spec) checkValues(spec, entry)
      else warnings.add(`parameter '${name}' has no effect in ${method.name}`)
    }
  }
  if (method.sparsify === 'none') warnIfThinned(recipe, method, warnings)
  return [...warnings]
}

function checkValues(spec: ParameterSpec, entry: ParameterEntry): void {
  for (const value of allValues(entry)) {
    if (spec.type === 'boolean') {
      if (value !== true && value !== false && value !== 0 && value !== 1) {
        throw recipeError(entry.place, `expected true or false, got ${value}`, { value })
      }
      continue
    }
    if (typeof value === 'boolean') throw recipeError(entry.place, `expected a number, got ${value}`, { value })
    const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = spec
    if (value < min || value > max) {
      throw recipeError(entry.place, `${spec.name} must be from ${min} to ${max}, got ${value}`, { value, min, max })
    }
  }
}

/** mergekit accepts `density` for task_arithmetic and ignores it. So does Tern, but it says so. */
function warnIfThinned(recipe: Recipe, method: MergeMethod, warnings: Set<string>): void {
  const given = [recipe.parameters, ...recipe.inputs.map(({ parameters }) => parameters)]
  if (given.some((parameters) => parameters.has('density')) && method.parameters.some((p) => p.name === 'density')) {
    warnings.add(`parameter 'density' has no effect in ${method.name}`)
  }
}

/** Settings of one tensor, looked up as mergekit does: the input's own, then the top level's, then the default. */
export class ParameterLookup {
  private readonly recipe: Recipe
  private readonly method: MergeMethod
  private readonly depthOf: (tensor: string) => number

  constructor(recipe: Recipe, method: MergeMethod, depthOf: (tensor: string) => number) {
    this.recipe = recipe
    this.method = method
    this.depthOf = depthOf
  }

  number(name: ParameterName, tensor: string, input?: RecipeInput): number {
    return Number(this.value(name, tensor, input))
  }

  flag(name: ParameterName, tensor: string): boolean {
    return Boolean(this.value(name, tensor))
  }

  private value(name: ParameterName, tensor: string, input?: RecipeInput): ParameterValue {
    const spec = this.method.parameters.find((candidate) => candidate.name === name)
    if (!spec) return neutral(name)
    const scopes: (ParameterMap | undefined)[] = [input?.parameters, this.recipe.parameters]
    for (const parameters of scopes) {
      const entry = parameters?.get(name)
      const found = entry && parameterFor(entry, tensor, this.depthOf(tensor))
      if (found !== undefined) return found
    }
    if (spec.fallback !== undefined) return spec.fallback
    throw this.missing(name, tensor, input)
  }

  private missing(name: ParameterName, tensor: string, input: RecipeInput | undefined): Error {
    const place = input?.place ?? this.recipe.method.place
    const model = input ? `model '${input.ref.text}'` : 'the recipe'
    const given = input?.parameters.has(name) || this.recipe.parameters.has(name)
    const why = given ? `no filter of '${name}' matches tensor ${tensor}` : `${model} has no '${name}'`
    return recipeError(place, `${why}: ${this.method.name} needs it for every model but the base`, {
      parameter: name,
      tensor,
      ...(input ? { model: input.ref.text } : {}),
    })
  }
}

/** What a method that does not know the parameter does. */
function neutral(name: ParameterName): ParameterValue {
  return name === 'normalize' || name === 'rescale' || name === 'int8_mask' ? false : 1
}
