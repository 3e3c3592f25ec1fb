/** The small files beside a merged model's weights. */
import { MergeError } from './errors.ts'
import type { ConfigPatch } from './plan-step.ts'

/**
 * config.json of the base, saying what the merged weights are: their dtype (under the key the file already uses;
 * transformers 5 calls it `dtype`, before it was `torch_dtype`), and that the output layer stands alone where the
 * merge gave it values of its own. RECIPE_INVALID where the base's file is not a JSON object.
 */
export function patchConfigJson(text: string, patch: ConfigPatch): string {
  let config: unknown
  try {
    config = JSON.parse(text)
  } catch (error) {
    throw new MergeError('RECIPE_INVALID', `config.json of the base is not valid JSON: ${(error as Error).message}`)
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw new MergeError('RECIPE_INVALID', 'config.json of the base is not a JSON object')
  }
  const patched: Record<string, unknown> = { ...config }
  if (patch.dtype) {
    const used = ['dtype', 'torch_dtype'].filter((key) => key in patched)
    for (const key of used.length > 0 ? used : ['torch_dtype']) patched[key] = patch.dtype
  }
  if (patch.untied) patched.tie_word_embeddings = false
  return `${JSON.stringify(patched, null, 2)}\n`
}
