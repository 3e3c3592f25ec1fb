/**
 * A merge recipe: mergekit's YAML as it is (the data-free subset that merges whole models), the same as JSON, or
 * PEFT's words for combining adapters. Two keys are Tern's own: `output` and `random_seed`.
 */
import { stringify } from 'yaml'
import { unknownParameter } from './methods/method-table.ts'
import { type ModelRef, parseModelRef } from './model-ref.ts'
import { type ParameterMap, readParameters } from './parameters.ts'
import { isPeftRecipe, peftToMergekit } from './peft-recipe.ts'
import {
  type Cursor,
  child,
  entries,
  fail,
  isPresent,
  items,
  kindOf,
  oneOf,
  place,
  type RecipePlace,
  root,
  text,
} from './recipe-cursor.ts'
import { type RecipeFormat, readRecipeDocument } from './recipe-document.ts'

/** Stops one request from opening, and holding a tensor of, an unlimited number of inputs. */
const MAX_MODELS = 64

export type OutputDtype = 'F32' | 'F16' | 'BF16'
export type OutputKind = 'model' | 'adapter' | 'expert'

export interface Recipe {
  readonly method: { readonly name: string; readonly place: RecipePlace }
  readonly base: RecipeInput | null
  /** In the order of the text. */
  readonly inputs: readonly RecipeInput[]
  /** Top-level parameters: looked up after the input's own. */
  readonly parameters: ParameterMap
  readonly dtype: OutputDtype | null
  readonly outDtype: OutputDtype | null
  readonly randomSeed: number
  readonly output: RecipeOutput
  /** Text for `mergekit_config.yml`: the YAML that was given, or the JSON recipe as YAML. */
  readonly yaml: string
}

export interface RecipeInput {
  readonly ref: ModelRef
  readonly parameters: ParameterMap
  readonly place: RecipePlace
}

/** What becomes of the result. `kind` is the method's own where it is not given. */
export interface RecipeOutput {
  readonly kind?: OutputKind
  /** `namespace/name` to publish the result to. */
  readonly publish?: string
  readonly tag?: string
  readonly place: RecipePlace
}

const KEYS = [
  'merge_method',
  'base_model',
  'models',
  'parameters',
  'dtype',
  'out_dtype',
  'tokenizer_source',
  'tokenizer',
  'random_seed',
  'output',
]

const REFUSED: Readonly<Record<string, string>> = {
  slices: "layer slices are not supported: list whole models under 'models'",
  modules: "per-module recipes are not supported: list whole models under 'models'",
  chat_template: "not supported: the output keeps the base's chat template",
  name: 'named intermediate merges are not supported: publish the first result and name it in a second recipe',
}

const DTYPES: Readonly<Record<string, OutputDtype>> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' }

/** Throws RECIPE_INVALID naming key and line. Whether method and inputs exist is for `planMerge` to say. */
export function parseRecipe(source: string, format: RecipeFormat): Recipe {
  const document = readRecipeDocument(source, format)
  if (isPeftRecipe(document.value)) {
    const value = peftToMergekit(root(document))
    return readRecipe(root({ ...document, value }), stringify(value))
  }
  return readRecipe(root(document), format === 'yaml' ? source : stringify(document.value))
}

function readRecipe(cursor: Cursor, yaml: string): Recipe {
  entries(cursor, (key) => (KEYS.includes(key) ? undefined : (REFUSED[key] ?? unknownKey(key, KEYS))))
  const method = child(cursor, 'merge_method')
  const base = child(cursor, 'base_model')
  const parameters = child(cursor, 'parameters')
  checkTokenizer(child(cursor, 'tokenizer_source'), child(cursor, 'tokenizer'))
  return {
    method: { name: text(method, 100), place: place(method) },
    base: isPresent(base) ? readBase(base) : null,
    inputs: readModels(child(cursor, 'models')),
    parameters: isPresent(parameters) ? readParameters(parameters, unknownParameter) : new Map(),
    dtype: readDtype(child(cursor, 'dtype')),
    outDtype: readDtype(child(cursor, 'out_dtype')),
    randomSeed: readSeed(child(cursor, 'random_seed')),
    output: readOutput(child(cursor, 'output')),
    yaml,
  }
}

function readBase(cursor: Cursor): RecipeInput {
  const ref = readRef(cursor)
  if (ref.adapter) fail(cursor, `'${ref.text}' is base+adapter: base_model names one model`)
  return { ref, parameters: new Map(), place: place(cursor) }
}

function readModels(cursor: Cursor): RecipeInput[] {
  if (!isPresent(cursor)) fail(cursor, "missing: list the inputs as '- model: ...'")
  const seen = new Set<string>()
  return items(cursor, MAX_MODELS).map((at) => {
    const input = readModel(at)
    const { text: name } = input.ref
    if (seen.has(name)) fail(at, `'${name}' is listed twice: list it once with the sum of the weights`)
    seen.add(name)
    return input
  })
}

function readModel(cursor: Cursor): RecipeInput {
  const found = entries(cursor, (key) =>
    key === 'model' || key === 'parameters' ? undefined : unknownKey(key, ['model', 'parameters']),
  )
  const parameters = found.get('parameters')
  const ref = readRef(child(cursor, 'model'))
  return {
    ref,
    parameters: parameters && isPresent(parameters) ? readParameters(parameters, unknownParameter) : new Map(),
    place: place(cursor),
  }
}

/** A reference is text, or mergekit's mapping `{ model: { path, revision }, lora: ... }`, which is refused. */
function readRef(cursor: Cursor): ModelRef {
  return parseModelRef(text(cursor), place(cursor))
}

function readDtype(cursor: Cursor): OutputDtype | null {
  if (!isPresent(cursor)) return null
  const name = text(cursor).replace(/^torch\./, '')
  const dtype = Object.hasOwn(DTYPES, name) ? DTYPES[name] : undefined
  if (!dtype) fail(cursor, `'${name}' is not one of ${Object.keys(DTYPES).join(', ')}`)
  return dtype
}

function readSeed(cursor: Cursor): number {
  if (!isPresent(cursor)) return 0
  const { value } = cursor
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    fail(cursor, `expected a whole number from 0 to 2^53 - 1, got ${kindOf(value)}`)
  }
  return value
}

function checkTokenizer(source: Cursor, tokenizer: Cursor): void {
  if (isPresent(source) && source.value !== 'base') {
    fail(source, `only 'base' is supported, got ${kindOf(source.value)}: the output keeps the base's tokenizer`)
  }
  if (!isPresent(tokenizer)) return
  const found = entries(tokenizer, (key) =>
    key === 'source' ? undefined : `'${key}' is not supported: the output keeps the base's tokenizer`,
  )
  const inner = found.get('source')
  if (inner && inner.value !== 'base') fail(inner, `only 'base' is supported, got ${kindOf(inner.value)}`)
}

function readOutput(cursor: Cursor): RecipeOutput {
  if (!isPresent(cursor)) return { place: place(cursor) }
  const allowed = ['kind', 'publish', 'tag']
  const found = entries(cursor, (key) => (allowed.includes(key) ? undefined : unknownKey(key, allowed)))
  const kind = found.get('kind')
  const publish = found.get('publish')
  const tag = found.get('tag')
  if (tag && !publish) fail(tag, "a tag needs 'publish'")
  return {
    ...(kind ? { kind: oneOf(kind, ['model', 'adapter', 'expert'] as const) } : {}),
    ...(publish ? { publish: text(publish, 200) } : {}),
    ...(tag ? { tag: text(tag, 200) } : {}),
    place: place(cursor),
  }
}

function unknownKey(key: string, allowed: readonly string[]): string {
  return `unknown key '${key.slice(0, 80)}': allowed are ${allowed.join(', ')}`
}
