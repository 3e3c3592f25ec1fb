import { describe, expect, it } from 'vitest'
import type { MergeInput } from '../../../merge/input.ts'
import {
  lora,
  type MemorySource,
  memoryTensors,
  model,
  noise,
  type PlainTensors,
  planText,
  taskVector,
} from './models.ts'

const shape = [2, 3]
const BASE: PlainTensors = {
  'embed.weight': { shape: [4, 2], values: noise(8, 1) },
  'layers.0.q.weight': { shape, values: noise(6, 2) },
  'layers.1.q.weight': { shape, values: noise(6, 3) },
}
const base = () => model('base', BASE, { weightsDigest: 'sha256:base' })
const other = (changes: PlainTensors = {}) =>
  model('other', { ...BASE, 'embed.weight': { shape: [4, 2], values: noise(8, 9) }, ...changes })
const adapter = (module: string, config = {}, extra: PlainTensors = {}) =>
  lora(
    'adapter',
    {
      [`base_model.model.${module}.lora_A.weight`]: { shape: [2, 3], values: noise(6, 5) },
      [`base_model.model.${module}.lora_B.weight`]: { shape: [2, 2], values: noise(4, 6) },
      ...extra,
    },
    config,
  )

async function refusal(text: string, inputs: readonly MergeInput[]) {
  const error = await planText(text, inputs).then(
    () => undefined,
    (reason: { code: string; message: string; detail: Record<string, unknown> }) => reason,
  )
  if (!error) throw new Error('the plan was made')
  for (const { source } of inputs) expect((source as MemorySource).reads).toEqual([])
  return error
}

const ties = (models: string, more = '') => `merge_method: ties\nbase_model: base\nmodels:\n${models}${more}`
const OTHER = '  - model: other\n    parameters: { weight: 1 }\n'
const ADAPTER = '  - model: adapter\n    parameters: { weight: 1 }\n'

describe('planning refuses, before a tensor is read,', () => {
  it('an unknown method, listing the known ones', async () => {
    const error = await refusal(ties(OTHER).replace('ties', 'tie'), [base(), other()])
    expect(error.code).toBe('MERGE_METHOD_UNKNOWN')
    expect(error.detail).toMatchObject({ method: 'tie', line: 1 })
    expect(error.detail.known).toEqual(['linear', 'task_arithmetic', 'ties', 'dare_linear', 'dare_ties', 'cat'])
  })

  it('a missing weight, naming the model and the line', async () => {
    const error = await refusal(ties('  - model: other\n'), [base(), other()])
    expect(error).toMatchObject({ code: 'RECIPE_INVALID', detail: { model: 'other', parameter: 'weight', line: 4 } })
  })

  it('a weight whose filters leave out a tensor, naming the tensor', async () => {
    const text = ties('  - model: other\n    parameters: { weight: { filter: layers, value: 1 } }\n')
    const error = await refusal(text, [base(), other()])
    expect(error).toMatchObject({ code: 'RECIPE_INVALID', detail: { model: 'other', tensor: 'embed.weight' } })
  })

  it.each([
    ['1.5', 'density: 1.5'],
    ['-0.1', 'density: [0.5, -0.1]'],
    ['true', 'density: true'],
    ['2', 'normalize: 2'],
  ])('a parameter out of its range: %s', async (_, parameter) => {
    const text = ties(`  - model: other\n    parameters: { weight: 1, ${parameter} }\n`)
    const error = await refusal(text, [base(), other()])
    expect(error).toMatchObject({ code: 'RECIPE_INVALID', detail: { line: 5 } })
    expect(error.detail.key).toContain(parameter.split(':')[0])
  })

  it('an input that does not exist, naming the entry', async () => {
    const error = await refusal(ties('  - model: nowhere\n    parameters: { weight: 1 }\n'), [base()])
    expect(error).toMatchObject({ code: 'MERGE_INPUT_NOT_FOUND', detail: { ref: 'nowhere', line: 4 } })
  })

  it('a tensor of another shape, naming it and both shapes', async () => {
    const wide = other({ 'layers.1.q.weight': { shape: [2, 4], values: noise(8, 1) } })
    const error = await refusal(ties(OTHER), [base(), wide])
    expect(error).toMatchObject({
      code: 'SHAPE_MISMATCH',
      detail: { tensor: 'layers.1.q.weight', shape: [2, 4], baseShape: [2, 3] },
    })
    expect(error.message).toContain('[2, 4]')
    expect(error.message).toContain('[2, 3]')
  })

  it('a whole model that lacks a tensor', async () => {
    const { 'layers.1.q.weight': _, ...rest } = BASE
    const error = await refusal(ties(OTHER), [base(), model('other', rest)])
    expect(error).toMatchObject({ code: 'SHAPE_MISMATCH', detail: { tensor: 'layers.1.q.weight' } })
  })

  it('a model of which no tensor is in the base', async () => {
    const error = await refusal(ties(OTHER), [base(), model('other', { x: { shape: [1], values: [1] } })])
    expect(error.code).toBe('BASE_DIFFERS')
  })

  it('an expert made from another base', async () => {
    const expert = taskVector('other', BASE, { madeFrom: 'sha256:elsewhere' })
    const error = await refusal(ties(OTHER), [base(), expert])
    expect(error).toMatchObject({
      code: 'BASE_DIFFERS',
      detail: { madeFrom: 'sha256:elsewhere', weightsDigest: 'sha256:base' },
    })
  })

  it('an expert of a known base on a base whose digest is not known', async () => {
    const expert = taskVector('other', BASE, { madeFrom: 'sha256:base' })
    expect((await refusal(ties(OTHER), [model('base', BASE), expert])).code).toBe('BASE_DIFFERS')
  })

  it('an expert on top of a model that it was not made from', async () => {
    const expert = taskVector('adapter', BASE, { madeFrom: 'sha256:base' })
    const text = ties('  - model: other+adapter\n    parameters: { weight: 1 }\n')
    expect((await refusal(text, [base(), other(), expert])).code).toBe('BASE_DIFFERS')
  })

  it('a method that needs a base without one', async () => {
    const error = await refusal(`merge_method: ties\nmodels:\n${OTHER}`, [other()])
    expect(error).toMatchObject({ code: 'RECIPE_INVALID', detail: { key: 'base_model' } })
  })

  it('a linear merge of a difference without a base', async () => {
    const error = await refusal(`merge_method: linear\nmodels:\n${ADAPTER}`, [adapter('layers.0.q')])
    expect(error).toMatchObject({ code: 'RECIPE_INVALID', detail: { key: 'base_model', input: 'adapter' } })
  })

  it('a base that is an adapter or a difference', async () => {
    const error = await refusal(ties(OTHER), [taskVector('base', BASE), other()])
    expect(error).toMatchObject({ code: 'RECIPE_INVALID', detail: { key: 'base_model' } })
  })

  it('a base that is the only model', async () => {
    const error = await refusal(ties('  - model: base\n'), [base()])
    expect(error).toMatchObject({ code: 'RECIPE_INVALID', detail: { key: 'models' } })
  })

  it('weights of a linear merge that sum to zero', async () => {
    const text =
      'merge_method: linear\nmodels:\n  - { model: base, parameters: { weight: 1 } }\n  - { model: other, parameters: { weight: -1 } }\n'
    const error = await refusal(text, [base(), other()])
    expect(error).toMatchObject({ code: 'RECIPE_INVALID' })
    expect(error.message).toContain('sum to 0')
  })

  it('a linear merge where it is unclear whether the base takes part', async () => {
    const text = 'merge_method: linear\nbase_model: base\nmodels:\n  - model: other\nparameters: { weight: 0.5 }\n'
    expect(await refusal(text, [base(), other()])).toMatchObject({ code: 'RECIPE_INVALID', detail: { line: 5 } })
  })

  it('an output kind that the method does not make', async () => {
    const error = await refusal(ties(OTHER, 'output: { kind: adapter }\n'), [base(), other()])
    expect(error).toMatchObject({ code: 'RECIPE_INVALID', detail: { kind: 'adapter', makes: 'model' } })
  })

  it('an expert to publish that has no base', async () => {
    const text = `merge_method: linear\nmodels:\n${OTHER}output: { kind: expert, publish: ns/x }\n`
    expect(await refusal(text, [other()])).toMatchObject({ code: 'RECIPE_INVALID', detail: { key: 'base_model' } })
  })

  it('weights in F8, whose scales stand elsewhere', async () => {
    const f8 = other({ 'layers.0.q.weight': { shape, values: new Float32Array(6), dtype: 'F8_E4M3' } })
    const error = await refusal(ties(OTHER), [base(), f8])
    expect(error).toMatchObject({
      code: 'MERGE_UNSUPPORTED',
      detail: { tensor: 'layers.0.q.weight', dtype: 'F8_E4M3' },
    })
  })
})

describe('planning refuses an adapter, before a tensor is read,', () => {
  it('with a module that the base does not have', async () => {
    const error = await refusal(ties(ADAPTER), [base(), adapter('layers.7.q')])
    expect(error).toMatchObject({ code: 'BASE_DIFFERS', detail: { module: 'layers.7.q' } })
  })

  it('whose product has another shape than the weight', async () => {
    const error = await refusal(ties(ADAPTER), [base(), adapter('embed')])
    expect(error).toMatchObject({ code: 'SHAPE_MISMATCH', detail: { shape: [2, 3], baseShape: [4, 2] } })
  })

  it.each([
    ['DoRA', { use_dora: true }],
    ['lora_bias', { lora_bias: true }],
    ['target_parameters', { target_parameters: ['experts.weight'] }],
    ['trainable_token_indices', { trainable_token_indices: [1] }],
    ['layer replication', { layer_replication: [[0, 1]] }],
    ['activated LoRA', { alora_invocation_tokens: [5] }],
    ['QA-LoRA', { use_qalora: true }],
    ['pissa', { init_lora_weights: 'pissa_niter_4' }],
    ['olora', { init_lora_weights: 'olora' }],
    ['(IA)3', { peft_type: 'IA3' }],
  ])('that uses %s, by name', async (feature, config) => {
    const error = await refusal(ties(ADAPTER), [base(), adapter('layers.0.q', config)])
    expect(error.code).toBe('MERGE_UNSUPPORTED')
    expect(error.message).toContain(feature)
  })

  it.each([
    ['DoRA', 'lora_magnitude_vector'],
    ['lora_bias', 'lora_B.bias'],
    ['other than LoRA', 'hada_w1_a'],
  ])('whose file holds tensors of %s, whatever its configuration says', async (feature, suffix) => {
    const tensor = `base_model.model.layers.0.q.${suffix}`
    const input = adapter('layers.0.q', {}, { [tensor]: { shape: [2], values: [0, 0] } })
    const error = await refusal(ties(ADAPTER), [base(), input])
    expect(error).toMatchObject({ code: 'MERGE_UNSUPPORTED', detail: { tensor } })
    expect(error.message).toContain(feature)
  })

  it('whose factors are F8, whose scales stand elsewhere', async () => {
    const name = 'base_model.model.layers.0.q.lora_A.weight'
    const f8 = { shape: [2, 3], values: new Float32Array(6), dtype: 'F8_E4M3' as const }
    const error = await refusal(ties(ADAPTER), [base(), adapter('layers.0.q', {}, { [name]: f8 })])
    expect(error).toMatchObject({ code: 'MERGE_UNSUPPORTED', detail: { tensor: name } })
  })

  it('but not one that was only initialised in a special way', async () => {
    const input = adapter('layers.0.q', { init_lora_weights: 'gaussian', eva_config: {}, target_parameters: [] })
    expect((await planText(ties(ADAPTER), [base(), input])).outputKind).toBe('model')
  })
})

describe('a plan warns', () => {
  it('of parameters without effect, and of signs that cancel in the divisor', async () => {
    const text =
      'merge_method: task_arithmetic\nbase_model: base\nparameters: { gamma: 0.1, normalize: true }\nmodels:\n' +
      '  - { model: other, parameters: { weight: 1, density: 0.3 } }\n  - { model: third, parameters: { weight: -0.9 } }\n'
    const plan = await planText(text, [
      base(),
      other(),
      model('third', { ...BASE, 'embed.weight': { shape: [4, 2], values: noise(8, 4) } }),
    ])
    expect(plan.warnings.join('\n')).toMatch(/'gamma' has no effect/)
    expect(plan.warnings.join('\n')).toMatch(/'density' has no effect/)
    expect(plan.warnings.join('\n')).toMatch(/both signs/)
  })
})

it('a source that is read says so', async () => {
  const source = memoryTensors({ a: { shape: [1], values: [1] } })
  await source.read('a')
  expect(source.reads).toEqual(['a'])
})
