/** Opens every name of a recipe once and checks that the inputs may be combined at all. */
import { MergeError } from './errors.ts'
import type { MergeInput, OpenInput } from './input.ts'
import type { Recipe, RecipeInput } from './recipe.ts'
import { recipeError } from './recipe-cursor.ts'

export interface OpenedInputs {
  readonly base: MergeInput | null
  /** In the recipe's order. */
  readonly inputs: readonly OpenedInput[]
}

export interface OpenedInput {
  readonly recipe: RecipeInput
  readonly input: MergeInput
  /** The adapter or expert on top of `input`, for `base+adapter`. */
  readonly upper: MergeInput | null
  readonly identity: string
}

/** MERGE_INPUT_NOT_FOUND, or what `open` throws, naming the entry; RECIPE_INVALID where a kind does not fit. */
export async function openInputs(recipe: Recipe, open: OpenInput, signal?: AbortSignal): Promise<OpenedInputs> {
  const cache = new Map<string, MergeInput>()
  const openOnce = async (ref: string, from: RecipeInput) => {
    signal?.throwIfAborted()
    const known = cache.get(ref)
    if (known) return known
    const input = await openNamed(ref, from, open)
    cache.set(ref, input)
    return input
  }
  const base = recipe.base && (await openOnce(recipe.base.ref.model, recipe.base))
  if (base && base.kind !== 'model') throw notABase(recipe.base as RecipeInput, base)
  const inputs: OpenedInput[] = []
  for (const entry of recipe.inputs) {
    const input = await openOnce(entry.ref.model, entry)
    const upper = entry.ref.adapter === null ? null : await openOnce(entry.ref.adapter, entry)
    if (upper?.kind === 'model' || (upper && input.kind !== 'model')) throw notOnTop(entry, input, upper)
    inputs.push({ recipe: entry, input, upper, identity: identityOf(input, upper) })
  }
  return { base, inputs }
}

async function openNamed(ref: string, from: RecipeInput, open: OpenInput): Promise<MergeInput> {
  try {
    return await open(ref)
  } catch (error) {
    if (!(error instanceof MergeError) || error.code !== 'MERGE_INPUT_NOT_FOUND') throw error
    const { key, line } = from.place
    const where = line === undefined ? key : `${key} (line ${line})`
    throw new MergeError('MERGE_INPUT_NOT_FOUND', `${where}: ${error.message}`, { ...error.detail, ref, key, line })
  }
}

function identityOf(input: MergeInput, upper: MergeInput | null): string {
  return upper ? `${input.identity}+${upper.identity}` : input.identity
}

function notABase(entry: RecipeInput, base: MergeInput): MergeError {
  const kind = base.kind === 'lora' ? 'an adapter' : 'an expert, a difference to its own base'
  return recipeError(entry.place, `'${base.ref}' is ${kind}: base_model must be a whole model`, { kind: base.kind })
}

function notOnTop(entry: RecipeInput, input: MergeInput, upper: MergeInput): MergeError {
  const why = upper.kind === 'model' ? `'${upper.ref}' is a whole model` : `'${input.ref}' is not a whole model`
  return recipeError(
    entry.place,
    `'${entry.ref.text}': ${why}; before '+' stands a model, after it an adapter or expert`,
  )
}

/**
 * BASE_DIFFERS unless the expert was made from the very weights that it is applied to. An expert that does not know
 * its base (a plain PEFT adapter) is checked by its shapes alone.
 */
export function checkMadeFrom(expert: MergeInput, base: MergeInput): void {
  if (!expert.madeFrom || expert.madeFrom === base.weightsDigest) return
  const actual = base.weightsDigest ?? 'unknown'
  throw new MergeError(
    'BASE_DIFFERS',
    `${expert.ref} was made from a base with weights digest ${expert.madeFrom}, but ${base.ref} has ${actual}: ` +
      'name the base that it was made from',
    { input: expert.ref, base: base.ref, madeFrom: expert.madeFrom, weightsDigest: base.weightsDigest ?? null },
  )
}
