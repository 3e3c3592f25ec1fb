import { describe, expect, it } from 'vitest'
import { parameterFor } from '../../../merge/parameters.ts'
import { parseRecipe } from '../../../merge/recipe.ts'

const GOOD = `merge_method: ties
base_model: ns/base
models:
  - model: ns/base # no parameters necessary for the base
  - model: ns/a@v1.2
    parameters: { weight: 0.5, density: 0.2 }
  - model: ns/base+ns/b@0123456789abcdef
    parameters:
      weight:
        - filter: mlp
          value: [0, 1]
        - value: 0.3
parameters:
  normalize: yes
  int8_mask: true
dtype: float32
out_dtype: torch.bfloat16
tokenizer_source: base
`

function errorOf(text: string, format: 'yaml' | 'json' = 'yaml') {
  try {
    parseRecipe(text, format)
  } catch (error) {
    return error as { code: string; message: string; detail: Record<string, unknown> }
  }
  throw new Error('the recipe was accepted')
}

describe('a mergekit recipe', () => {
  it('is read with all that it says', () => {
    const recipe = parseRecipe(GOOD, 'yaml')
    expect(recipe.method.name).toBe('ties')
    expect(recipe.base?.ref.model).toBe('ns/base')
    expect(recipe.inputs.map(({ ref }) => [ref.model, ref.adapter])).toEqual([
      ['ns/base', null],
      ['ns/a@v1.2', null],
      ['ns/base', 'ns/b@0123456789abcdef'],
    ])
    expect([recipe.dtype, recipe.outDtype]).toEqual(['F32', 'BF16'])
    expect(recipe.parameters.get('normalize')?.conditions).toEqual([{ filter: null, value: true }])
  })

  it('is kept verbatim for mergekit_config.yml', () => {
    expect(parseRecipe(GOOD, 'yaml').yaml).toBe(GOOD)
  })

  it('says the same as JSON, and becomes YAML for mergekit_config.yml', () => {
    const json = {
      merge_method: 'linear',
      models: [{ model: 'a', parameters: { weight: 1e-3 } }],
      output: { kind: 'expert', publish: 'ns/out', tag: 'v1' },
      random_seed: 7,
    }
    const recipe = parseRecipe(JSON.stringify(json), 'json')
    expect(recipe.output).toMatchObject({ kind: 'expert', publish: 'ns/out', tag: 'v1' })
    expect(recipe.randomSeed).toBe(7)
    expect(parseRecipe(recipe.yaml, 'yaml').inputs[0]?.parameters.get('weight')?.conditions[0]?.value).toBe(0.001)
  })

  it('also takes the output key in YAML, and a tokenizer that is the base', () => {
    const text = 'merge_method: linear\nmodels: [{ model: a }]\noutput: { kind: model }\ntokenizer: { source: base }\n'
    expect(parseRecipe(text, 'yaml').output.kind).toBe('model')
  })
})

describe("PEFT's words", () => {
  it('become a recipe of the same meaning', () => {
    const text = '{ "adapters": ["ns/a", "ns/b"], "weights": [0.7, -0.3], "combination_type": "cat" }'
    const recipe = parseRecipe(text, 'json')
    expect(recipe.method.name).toBe('cat')
    expect(
      recipe.inputs.map(({ ref, parameters }) => [ref.text, parameters.get('weight')?.conditions[0]?.value]),
    ).toEqual([
      ['ns/a', 0.7],
      ['ns/b', -0.3],
    ])
  })

  it('are refused with the known types for a combination that is not offered', () => {
    const error = errorOf('{ adapters: [a], weights: [1], combination_type: svd }')
    expect(error.code).toBe('MERGE_METHOD_UNKNOWN')
    expect(error.detail).toMatchObject({ method: 'svd', known: ['cat'] })
  })

  it('need as many weights as adapters', () => {
    expect(errorOf('{ adapters: [a, b], weights: [1], combination_type: cat }').message).toContain('1 weights for 2')
  })
})

describe('what is refused names key and line', () => {
  it.each([
    ['merge_method: linear\nmodels:\n  - model: a\n    weigth: 1\n', 'models[0].weigth', 4],
    ['merge_method: linear\nmodels:\n  - model: a\n    parameters: { weigth: 1 }\n', 'models[0].parameters.weigth', 4],
    ['merge_method: linear\nmodels: [{ model: a }]\nslices: []\n', 'slices', 3],
    ['merge_method: linear\nmodels: [{ model: a }]\nmodules: {}\n', 'modules', 3],
    ['merge_method: linear\nmodels: [{ model: a }]\n\nfoo: 1\n', 'foo', 4],
    ['merge_method: linear\nmodels: [{ model: a }]\ndtype: float8\n', 'dtype', 3],
    ['merge_method: linear\nmodels: [{ model: a }]\ntokenizer_source: union\n', 'tokenizer_source', 3],
    ['merge_method: linear\nmodels: [{ model: a }]\nrandom_seed: -1\n', 'random_seed', 3],
    ['merge_method: linear\nmodels: [{ model: a }]\noutput: { kind: moe }\n', 'output.kind', 3],
    ['merge_method: linear\nmodels: [{ model: a }]\noutput:\n  tag: v1\n', 'output.tag', 4],
    ['merge_method: linear\nmodels:\n  - model: a\n  - model: a\n', 'models[1]', 4],
    ['merge_method: linear\nmodels:\n  - model: a+b+c\n', 'models[0].model', 3],
    ['merge_method: linear\nmodels:\n  - model: a@1@2\n', 'models[0].model', 3],
    ['merge_method: linear\nmodels:\n  - model: a+\n', 'models[0].model', 3],
    ['merge_method: linear\nmodels:\n  - model: 5\n', 'models[0].model', 3],
    ['merge_method: ties\nbase_model: a+b\nmodels: [{ model: a }]\n', 'base_model', 2],
    ['merge_method: linear\nmodels: []\n', 'models', 2],
    ['models: [{ model: a }]\n', 'merge_method', 1],
    ['merge_method: linear\nmodels: [{ model: a, parameters: { weight: .nan } }]\n', 'models[0].parameters.weight', 2],
    ['merge_method: linear\nmodels: [{ model: a, parameters: { weight: [] } }]\n', 'models[0].parameters.weight', 2],
    [
      'merge_method: linear\nmodels:\n  - model: a\n    parameters:\n      weight:\n        - filtre: x\n          value: 1\n',
      'models[0].parameters.weight[0].filtre',
      6,
    ],
  ])('%j', (text, key, line) => {
    const error = errorOf(text)
    expect(error.code).toBe('RECIPE_INVALID')
    expect(error.detail).toMatchObject({ key, line })
    expect(error.message).toContain(`${key} (line ${line})`)
  })

  it('in JSON too', () => {
    expect(errorOf('{\n "merge_method": "linear",\n "models": [{ "model": 1 }]\n}', 'json').detail).toMatchObject({
      key: 'models[0].model',
      line: 3,
    })
  })

  it('with the line of a syntax error or a repeated key', () => {
    expect(errorOf('merge_method: linear\nmodels: [\n').code).toBe('RECIPE_INVALID')
    expect(errorOf('merge_method: linear\nmerge_method: ties\n').detail).toMatchObject({ line: 2 })
    expect(errorOf('{"merge_method": ', 'json').code).toBe('RECIPE_INVALID')
  })
})

describe('a hostile recipe is refused', () => {
  it.each([
    ['that is too long', `# ${'x'.repeat(300_000)}`],
    ['nested without end', '['.repeat(100_000)],
    [
      'of aliases that multiply',
      `a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n`,
    ],
    ['of several documents', 'merge_method: linear\n---\nmerge_method: ties\n'],
    ['with a tag that would build an object', 'merge_method: !!python/object:os.system linear\n'],
    ['that is only text', 'linear'],
    ['with too many models', `merge_method: linear\nmodels:\n${'  - model: a\n'.repeat(65)}`],
  ])('%s', (_, text) => {
    expect(errorOf(text).code).toBe('RECIPE_INVALID')
  })
})

describe('a parameter of a tensor', () => {
  const weight = (text: string) =>
    parseRecipe(
      `{ merge_method: linear, models: [{ model: a, parameters: { weight: ${text} } }] }`,
      'yaml',
    ).inputs[0]!.parameters.get('weight')!

  it('is interpolated between the points of a gradient', () => {
    const entry = weight('[0, 1, 3]')
    expect([0, 0.25, 0.5, 0.75, 1].map((depth) => parameterFor(entry, 'w', depth))).toEqual([0, 0.5, 1, 2, 3])
  })

  it('is that of the first filter found in its name', () => {
    const entry = weight('[{ filter: mlp, value: 1 }, { filter: layers.1, value: 2 }, { filter: "*", value: 3 }]')
    expect(
      ['layers.1.mlp.w', 'layers.1.attn.w', 'layers.2.attn.w'].map((name) => parameterFor(entry, name, 0)),
    ).toEqual([1, 2, 3])
  })

  it('is absent where no filter matches', () => {
    expect(parameterFor(weight('{ filter: mlp, value: 1 }'), 'attn', 0)).toBeUndefined()
  })
})

describe('a recipe that would take the YAML library minutes', () => {
  it.each([
    ['keys in keys', '? '.repeat(500), 'nested too deeply'],
    ['brackets', '{a: '.repeat(2000), 'nested too deeply'],
    ['dashes', `${'- '.repeat(2000)}x`, 'nested too deeply'],
    ['many keys', Array.from({ length: 20_000 }, (_, i) => `k${i}: 1`).join('\n'), 'more than 64 keys'],
    ['many keys on one line', `{${Array.from({ length: 20_000 }, (_, i) => `k${i}: 1`)}}`, 'more than 64 keys'],
    ['many items', '- x\n'.repeat(20_000), 'more than 4096 items'],
    ['many mistakes', 'a: }\n'.repeat(20_000), 'line 1: Unexpected flow-map-end'],
    ['many documents', '---\n'.repeat(20_000), 'a second document'],
  ])('is refused for %s', (_, text, problem) => {
    expect(errorOf(text).message).toContain(problem)
  })

  it.each(['[', '{"a":'])('is refused as JSON for %s', (open) => {
    const text = `${open.repeat(2000)}1${(open === '[' ? ']' : '}').repeat(2000)}`
    expect(errorOf(text, 'json').message).toContain('nested too deeply')
  })
})
