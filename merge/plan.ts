/**
 * Recipe to plan: everything a user can get wrong is found here, from headers alone, before a tensor is read or a
 * byte is written.
 */
import { MergeError } from './errors.ts'
import type { OpenInput } from './input.ts'
import { METHODS, type MergeMethod, methodByName } from './methods/method-table.ts'
import { openInputs } from './open-inputs.ts'
import { planAdapter } from './plan-adapter.ts'
import { planModel } from './plan-model.ts'
import { checkParameters } from './plan-parameters.ts'
import type { MergePlan } from './plan-step.ts'
import type { Recipe } from './recipe.ts'
import { recipeError } from './recipe-cursor.ts'

export type { MergePlan } from './plan-step.ts'

/**
 * Opens each input of the recipe once and decides, for every output tensor, what it is made of.
 *
 * Throws MERGE_METHOD_UNKNOWN, RECIPE_INVALID (missing weight, parameter out of range, missing base),
 * MERGE_INPUT_NOT_FOUND, SHAPE_MISMATCH, BASE_DIFFERS, MERGE_UNSUPPORTED, and what `open` throws.
 */
export async function planMerge(recipe: Recipe, open: OpenInput, signal?: AbortSignal): Promise<MergePlan> {
  const method = methodOf(recipe)
  checkOutputKind(recipe, method)
  checkBase(recipe, method)
  const warnings = checkParameters(recipe, method)
  const opened = await openInputs(recipe, open, signal)
  return method.makes === 'adapter'
    ? planAdapter(recipe, method, opened, warnings)
    : planModel(recipe, method, opened, warnings)
}

function methodOf(recipe: Recipe): MergeMethod {
  const { name, place } = recipe.method
  const method = methodByName(name)
  if (method) return method
  const known = METHODS.map((row) => row.name)
  const line = place.line === undefined ? '' : ` (line ${place.line})`
  throw new MergeError(
    'MERGE_METHOD_UNKNOWN',
    `merge_method${line}: '${name}' is unknown: known are ${known.join(', ')}`,
    {
      method: name,
      known,
      ...(place.line === undefined ? {} : { line: place.line }),
    },
  )
}

function checkOutputKind(recipe: Recipe, method: MergeMethod): void {
  const { kind, place } = recipe.output
  if (kind === undefined || kind === 'expert' || kind === method.makes) return
  throw recipeError(
    place,
    `kind '${kind}' is not what ${method.name} makes: it makes ${method.makes === 'adapter' ? 'an adapter' : 'a model'}`,
    {
      kind,
      makes: method.makes,
    },
  )
}

/** The cases that the text alone decides. Whether `linear` needs a base depends on its inputs. */
function checkBase(recipe: Recipe, method: MergeMethod): void {
  const where = { key: 'base_model', line: undefined }
  if (method.origin === 'base' && !recipe.base) {
    throw recipeError(where, `missing: ${method.name} merges differences to a base`)
  }
  if (recipe.output.kind === 'expert' && method.makes === 'model' && !recipe.base) {
    throw recipeError(where, 'missing: an expert is published as the difference to a base')
  }
  const others = recipe.inputs.filter(({ ref }) => ref.text !== recipe.base?.ref.text)
  if (method.origin === 'base' && others.length === 0) {
    throw recipeError({ key: 'models', line: undefined }, `${method.name} needs a model besides the base`)
  }
  // mergekit would average the unlisted base in with the top-level weight; leaving it out silently would differ.
  if (method.name === 'linear' && recipe.base && others.length === recipe.inputs.length) {
    const topLevel = recipe.parameters.get('weight')
    if (topLevel) {
      throw recipeError(
        topLevel.place,
        `unclear whether '${recipe.base.ref.text}' is to be averaged in: give each model its own weight, ` +
          'and list the base under models if it is one of them',
      )
    }
  }
}
