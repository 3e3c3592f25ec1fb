/** Text that strangers send: strict JSON, adapter configurations with their patterns, shard indexes, recipes. */
import { parseRecipe } from '../../merge/recipe.ts'
import { loraScaling, parseAdapterConfig } from '../../tensors/adapter-config.ts'
import { parseShardIndex } from '../../tensors/shard-index.ts'
import { parseStrictJson, StrictJsonError, toPlainJson } from '../../tensors/strict-json.ts'
import type { Dice } from './dice.ts'
import { mutateBytes } from './mutate-bytes.ts'
import { mutateJson, mutateJsonText } from './mutate-json.ts'
import { expectSame, type Outcome, refusal, type Target, Violation } from './target.ts'

const utf8 = new TextEncoder()

/** UTF-16 for what UTF-8 cannot say: half a surrogate pair outside an escape. */
function toUtf16(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'utf16le'))
}

function fromUtf16(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength & ~1).toString('utf16le')
}

// ---- strict JSON ----

const JSON_SEEDS: readonly unknown[] = [
  null,
  [],
  {},
  [1, -2, 0.5, 1e21, true, false, null, '', 'é\n"\\', '\u2028😀'],
  { a: { b: [{}, [], { c: 'd' }] }, '': 0, __proto__x: 1, 'a.b': 9007199254740991 },
  Array.from({ length: 40 }, (_, i) => ({ [`k${i}`]: i / 4 })),
]
const JSON_LIMITS = { depth: 12, values: 120, members: 20 }

export const strictJsonTarget: Target = {
  name: 'strict-json',
  weight: 6,
  generate(dice) {
    const value = dice.chance(0.5) ? mutateJson(dice, dice.pick(JSON_SEEDS)) : dice.pick(JSON_SEEDS)
    const text = JSON.stringify(value, undefined, dice.pick([0, 0, 1])) ?? ''
    const changed = dice.chance(0.7) ? mutateJsonText(dice, text) : text
    return dice.chance(0.1) ? mutateBytes(dice, toUtf16(changed), toUtf16(text), 1) : toUtf16(changed)
  },
  run: runStrictJson,
}

/** Accepted: what JSON.parse makes of it. Refused: JSON.parse does too, or one of the stricter rules is broken. */
function runStrictJson(input: Uint8Array): Outcome {
  const text = fromUtf16(input)
  let plain: { value: unknown } | undefined
  try {
    plain = { value: JSON.parse(text) }
  } catch {
    plain = undefined
  }
  try {
    const value = toPlainJson(parseStrictJson(text, JSON_LIMITS))
    if (plain === undefined) throw new Violation('accepted, and JSON.parse refuses it')
    expectSame('value', value, plain.value)
    return 'accepted'
  } catch (error) {
    if (!(error instanceof StrictJsonError)) throw error
    const stricter = /given twice|more than|nesting deeper|half a surrogate/.test(error.message)
    if (plain !== undefined && !stricter) throw new Violation(`refused: ${error.message}`, { cause: error })
    if (error.message.length > 500) throw new Violation(`a message of ${error.message.length} characters`)
    return stricter ? 'stricter' : 'refused'
  }
}

// ---- adapter_config.json ----

const ADAPTER_SEEDS: readonly unknown[] = [
  { peft_type: 'LORA', r: 8, lora_alpha: 16, target_modules: ['query', 'value'], base_model_name_or_path: 'a/b' },
  {
    peft_type: 'LORA',
    r: 4,
    lora_alpha: 2.5,
    use_rslora: true,
    rank_pattern: { '^model\\.layers\\.[0-3]\\.q': 2, 'v_proj|(?:k|o)_proj': 8, 'a{2,3}b*c?': 1 },
    alpha_pattern: { 'down.*': 3, '[^a-c]\\d+$': 0.5, query: 7 },
    modules_to_save: ['classifier', null],
    bias: 'all',
    fan_in_fan_out: false,
  },
  { peft_type: 'IA3', target_modules: '.*k', feedforward_modules: ['fc'], modules_to_save: null, inference_mode: true },
]
const MODULES = ['model.layers.0.q', 'model.layers.10.v_proj', 'query', '', 'a'.repeat(60), 'aab.c.down.x', 'é.ü1']
const PATTERN_PIECES = [
  '(',
  ')',
  '|',
  '*',
  '+',
  '?',
  '{0,9}',
  '{3}',
  '[a-z]',
  '[^',
  ']',
  '\\d',
  '\\',
  '.',
  'a',
  '^',
  '$',
]

export const adapterConfigTarget: Target = {
  name: 'adapter-config',
  weight: 3,
  generate(dice) {
    const seed = structuredClone(dice.pick(ADAPTER_SEEDS)) as Record<string, unknown>
    if (dice.chance(0.4)) seed[dice.pick(['rank_pattern', 'alpha_pattern'])] = { [pattern(dice)]: 3, x: 8 }
    return changedJson(dice, seed)
  },
  run: runAdapterConfig,
}

function pattern(dice: Dice): string {
  let text = ''
  for (let i = dice.length(30); i > 0; i--) text += dice.pick(PATTERN_PIECES)
  return text
}

function changedJson(dice: Dice, value: unknown): Uint8Array {
  const text = JSON.stringify(dice.chance(0.6) ? mutateJson(dice, value) : value) ?? ''
  return utf8.encode(dice.chance(0.3) ? mutateJsonText(dice, text) : text)
}

function runAdapterConfig(input: Uint8Array): Outcome {
  try {
    const text = new TextDecoder().decode(input)
    const config = parseAdapterConfig(text)
    expectSame('raw', config.raw, JSON.parse(text))
    // Sent to a worker, and read again from what was stored of it.
    expectSame('clone', structuredClone(config), config)
    parseAdapterConfig(JSON.stringify(config.raw))
    if (config.peftType === 'LORA') for (const module of MODULES) scale(config, module)
    return 'accepted'
  } catch (error) {
    return refusal(error, ['ADAPTER_CONFIG_INVALID'])
  }
}

function scale(config: ReturnType<typeof parseAdapterConfig>, module: string): void {
  for (const rank of new Set([config.r, ...Object.values(config.rankPattern)])) {
    try {
      const factor = loraScaling(config, module, rank)
      if (!Number.isFinite(factor)) throw new Violation(`a scaling of ${factor}`)
    } catch (error) {
      refusal(error, ['ADAPTER_SHAPE_MISMATCH', 'ADAPTER_CONFIG_INVALID'])
    }
  }
}

// ---- model.safetensors.index.json ----

const INDEX_SEED = {
  metadata: { total_size: 96 },
  weight_map: { 'a.w': 'model-00001-of-00002.safetensors', 'b.w': 'model-00002-of-00002.safetensors' },
}
const FILE_NAMES = [
  '../x.safetensors',
  '/x.safetensors',
  'C:x.safetensors',
  '.safetensors',
  'x.bin',
  'a\\b.safetensors',
]

export const shardIndexTarget: Target = {
  name: 'shard-index',
  weight: 1,
  generate(dice) {
    const seed = structuredClone(INDEX_SEED) as { weight_map: Record<string, string> }
    if (dice.chance(0.3)) seed.weight_map['a.w'] = dice.pick(FILE_NAMES)
    return changedJson(dice, seed)
  },
  run(input) {
    try {
      for (const file of parseShardIndex(new TextDecoder().decode(input)).values())
        if (!/^[^/\\:\0]+\.safetensors$/.test(file) || file.startsWith('.'))
          throw new Violation(`a shard named ${file}`)
      return 'accepted'
    } catch (error) {
      return refusal(error, ['SAFETENSORS_INVALID'])
    }
  },
}

// ---- recipes ----

const RECIPES: readonly string[] = [
  `merge_method: ties
base_model: acme/base
models:
  - model: acme/a
    parameters:
      weight: 0.5
      density: [0.1, 0.5, 1]
  - model: acme/b@v1
    parameters:
      weight:
        - filter: mlp
          value: [0, 1]
        - value: 0.3
parameters:
  normalize: yes
dtype: bfloat16
output: { kind: model, publish: acme/merged, tag: v1 }
`,
  `adapters: [acme/a, acme/b]
weights: [0.5, 1.5]
combination_type: cat
base_model: acme/base
`,
  `x: &a [1, 2]
merge_method: &m linear
models: [{model: "p/q", parameters: {weight: 1}}, {model: 'p/r', parameters: &p {weight: .5}}]
random_seed: 3
tokenizer_source: base
`,
]
const YAML_PIECES = [
  '&a ',
  '*a',
  '*m',
  '<<: *p',
  '!!binary x',
  '!!set {a}',
  '!!omap [a: 1]',
  '2001-12-14t21:59:43.10-05:00',
  '0o17',
  '.inf',
  '.nan',
  '~',
  '---\n',
  '...\n',
  '%YAML 1.2\n',
  '? ',
  '| \n  x\n',
  '>-\n',
  '# x',
  '\t',
  '  ',
  '- ',
  ': ',
  '{',
  '}',
  '[',
  ']',
  '__proto__: ',
  'weight: ',
  "'",
  '"',
  '&a [*a]',
  '1e999',
  '0x1F',
  '190:20:30',
]

/** One byte for the format, then the text. */
export const recipeTarget: Target = {
  name: 'recipe',
  weight: 1,
  generate(dice) {
    const yaml = dice.chance(0.6)
    const seed = dice.pick(RECIPES)
    const text = yaml
      ? changedYaml(dice, seed)
      : new TextDecoder().decode(changedJson(dice, JSON_RECIPES[dice.below(2)]))
    return new Uint8Array(Buffer.concat([Uint8Array.of(yaml ? 1 : 0), utf8.encode(text)]))
  },
  run: runRecipe,
}

const JSON_RECIPES: readonly unknown[] = [
  {
    merge_method: 'task_arithmetic',
    base_model: 'a/b',
    models: [{ model: 'c/d', parameters: { weight: [0, 0.5, 1] } }, { model: 'e/f+g/h' }],
    parameters: { lambda: 0.7, weight: [{ filter: 'x', value: 1 }, { value: true }] },
    out_dtype: 'float16',
  },
  { adapters: ['a/b', 'c/d'], weights: [1, -0.5], combination_type: 'cat', output: { kind: 'adapter' } },
]

function changedYaml(dice: Dice, seed: string): string {
  let text = seed
  for (let i = dice.between(1, 3); i > 0; i--) {
    const at = dice.below(text.length + 1)
    const action = dice.below(4)
    if (action === 0) text = text.slice(0, at) + dice.pick(YAML_PIECES) + text.slice(at + dice.below(6))
    else if (action === 1) text = text.slice(0, at) + text.slice(at + dice.length(20))
    else if (action === 2)
      text = text.slice(0, at) + dice.pick(['[', '{a: ', '- ', '  ']).repeat(dice.pick([2, 50, 2000])) + text.slice(at)
    else text = new TextDecoder().decode(mutateBytes(dice, utf8.encode(text), utf8.encode(dice.pick(RECIPES)), 1))
  }
  return text
}

function runRecipe(input: Uint8Array): Outcome {
  const format = input[0] === 1 ? 'yaml' : 'json'
  try {
    const recipe = parseRecipe(new TextDecoder().decode(input.subarray(1)), format)
    // What is published beside the result must say the same again.
    const again = parseRecipe(recipe.yaml, 'yaml')
    const said = ({ method, base, inputs, dtype, outDtype, randomSeed, output }: typeof recipe) => [
      [method.name, dtype, outDtype, randomSeed, output.kind, output.publish, output.tag],
      [base?.ref, ...inputs.map(({ ref }) => ref)],
      inputs.map(({ parameters }) => [...parameters].map(([name, { conditions }]) => [name, conditions])),
    ]
    expectSame('the recipe as YAML', said(again), said(recipe))
    return `${format} accepted`
  } catch (error) {
    return `${format} ${refusal(error, ['RECIPE_INVALID', 'MERGE_METHOD_UNKNOWN'])}`
  }
}
