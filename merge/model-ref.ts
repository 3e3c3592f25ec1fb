/** How a recipe names its inputs: `model[@revision][+adapter[@revision]]`, as in mergekit. */
import { type RecipePlace, recipeError } from './recipe-cursor.ts'

export interface ModelRef {
  readonly text: string
  /** What is opened first: a model, an expert or an adapter. */
  readonly model: string
  /** An expert or adapter applied on top of `model`, or null. */
  readonly adapter: string | null
}

export function parseModelRef(text: string, where: RecipePlace): ModelRef {
  const parts = text.trim().split('+')
  if (parts.length > 2) throw recipeError(where, `'${text}' has more than one '+': a reference is base+adapter`)
  for (const part of parts) checkPart(part, text, where)
  return { text: text.trim(), model: parts[0]!, adapter: parts[1] ?? null }
}

function checkPart(part: string, text: string, where: RecipePlace): void {
  const pieces = part.split('@')
  if (pieces.length > 2) throw recipeError(where, `'${text}' has more than one '@': a reference is name@revision`)
  if (pieces.some((piece) => piece === '' || piece !== piece.trim())) {
    throw recipeError(where, `'${text}' has an empty name or revision: write name, name@revision or base+adapter`)
  }
}
