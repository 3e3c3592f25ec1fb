import { describe, expect, it } from 'vitest'
import type { MergeInput } from '../../../merge/input.ts'
import { parseAdapterConfig } from '../../../tensors/adapter-config.ts'
import { lora, mergeText, model, noise, type Plain, type PlainTensors, planText } from './models.ts'

function pair(module: string, rank: number, seed: number): PlainTensors {
  return {
    [`base_model.model.${module}.lora_A.weight`]: { shape: [rank, 5], values: noise(rank * 5, seed) },
    [`base_model.model.${module}.lora_B.weight`]: { shape: [4, rank], values: noise(4 * rank, seed + 1) },
  }
}

const HEAD: Plain = { shape: [2, 4], values: noise(8, 77) }
const one = () => lora('one', { ...pair('x.q', 2, 1), ...pair('x.v', 2, 3) }, { target_modules: ['v', 'q'] })
const two = () =>
  lora('two', { ...pair('x.q', 3, 5), ...pair('x.v', 3, 7) }, { r: 3, lora_alpha: 6, target_modules: ['q', 'v'] })
const cat = (models: Record<string, number>, more = '') =>
  `merge_method: cat\nmodels:\n${Object.entries(models)
    .map(([name, weight]) => `  - { model: ${name}, parameters: { weight: ${weight} } }\n`)
    .join('')}${more}`

/** B.A times the scaling that the configuration says, as a dense matrix. */
async function product(input: { source: MergeInput['source'] }, module: string, scaling: number): Promise<number[]> {
  const info = input.source.tensors.find(({ name }) => name.endsWith(`${module}.lora_A.weight`))!
  const a = await input.source.read(info.name)
  const b = await input.source.read(info.name.replace('lora_A', 'lora_B'))
  const rank = info.shape[0]!
  return Array.from({ length: 20 }, (_, at) => {
    const [i, j] = [Math.floor(at / 5), at % 5]
    let sum = 0
    for (let k = 0; k < rank; k++) sum += b[i * rank + k]! * a[k * 5 + j]!
    return sum * scaling
  })
}

describe('cat', () => {
  it('makes an adapter whose product is the weighted sum of the products', async () => {
    const { sink, plan } = await mergeText(cat({ one: 0.7, two: -0.4 }), [one(), two()])
    expect(plan.outputKind).toBe('adapter')
    const source = {
      tensors: sink.tensors,
      metadata: {},
      read: async (name: string) => sink.values(name),
      readBytes: async () => new Uint8Array(),
    }
    const [first, second] = [await product(one(), 'q', 2), await product(two(), 'q', 2)]
    const merged = await product({ source }, 'q', 1)
    merged.forEach((value, i) => {
      expect(Math.abs(value - (0.7 * first[i]! - 0.4 * second[i]!))).toBeLessThan(1e-6)
    })
    expect(sink.tensors.map(({ shape }) => shape)).toEqual([
      [5, 5],
      [4, 5],
      [5, 5],
      [4, 5],
    ])
  })

  it('writes a configuration with scaling 1 that keeps the rest of the first', async () => {
    const { adapterConfig } = await planText(cat({ one: 1, two: 1 }), [one(), two()])
    expect(adapterConfig).toMatchObject({ peft_type: 'LORA', r: 5, lora_alpha: 5, rank_pattern: {}, use_rslora: false })
    expect(adapterConfig?.target_modules).toEqual(['q', 'v'])
    expect(parseAdapterConfig(JSON.stringify(adapterConfig)).r).toBe(5)
  })

  it('counts rank-stabilised scaling into the factors', async () => {
    const rs = lora('rs', pair('x.q', 4, 1), { r: 4, lora_alpha: 6, use_rslora: true })
    const { sink, plan } = await mergeText(cat({ rs: 1 }), [rs])
    const a = await rs.source.read('base_model.model.x.q.lora_A.weight')
    expect([...sink.values('base_model.model.x.q.lora_A.weight')]).toEqual(
      [...a].map((value) => Math.fround(value * 3)),
    )
    expect(plan.adapterConfig).toMatchObject({ use_rslora: false, r: 4, lora_alpha: 4 })
  })

  it('names every module and its rank where adapters change different modules', async () => {
    const wide = lora('wide', {
      ...pair('x.q', 2, 1),
      ...pair('x.k', 2, 3),
      ...pair('y.x.k', 2, 9),
      ...pair('y.q', 2, 5),
    })
    const { adapterConfig } = await planText(cat({ wide: 1, two: 1 }), [wide, two()])
    expect(adapterConfig).toMatchObject({
      r: 2,
      lora_alpha: 2,
      rank_pattern: { 'x.q': 5, 'x.v': 3 },
      alpha_pattern: { 'x.q': 5, 'x.v': 3 },
      target_modules: ['x.k', 'x.q', 'x.v', 'y.q', 'y.x.k'],
    })
  })

  it('ties a rank pattern to the whole name where it would match another module too', async () => {
    const narrow = lora('narrow', { ...pair('q', 2, 1), ...pair('x.q', 2, 1), ...pair('y.q', 2, 1) })
    const { adapterConfig } = await planText(cat({ narrow: 1, other: 1 }), [narrow, lora('other', pair('q', 2, 4))])
    expect(adapterConfig).toMatchObject({ r: 2, rank_pattern: { '^q': 4 } })
  })

  it('does not repeat a list of modules that other rules restrict', async () => {
    const some = lora('some', pair('layers.0.q', 2, 1), { layers_to_transform: [0] })
    const { adapterConfig } = await planText(cat({ some: 1 }), [some])
    expect(adapterConfig).toMatchObject({ target_modules: ['layers.0.q'], layers_to_transform: null })
  })

  it('keeps f32 unless the recipe asks for less, as scaled bf16 factors would be rounded', async () => {
    const half = lora('half', {
      'x.q.lora_A.weight': { shape: [2, 5], values: noise(10, 1), dtype: 'BF16' },
      'x.q.lora_B.weight': { shape: [4, 2], values: noise(8, 2), dtype: 'BF16' },
    })
    expect((await planText(cat({ half: 0.3 }), [half])).tensors.map(({ dtype }) => dtype)).toEqual(['F32', 'F32'])
    const asked = await planText(cat({ half: 0.3 }, 'out_dtype: bfloat16\n'), [half])
    expect(asked.tensors.map(({ dtype }) => dtype)).toEqual(['BF16', 'BF16'])
  })

  it('keeps a trained head that one adapter has', async () => {
    const headed = lora(
      'headed',
      { ...pair('x.q', 2, 1), 'base_model.model.head.weight': HEAD },
      { modules_to_save: ['head'] },
    )
    const { sink, plan } = await mergeText(cat({ one: 1, headed: 0.5 }), [one(), headed])
    expect([...sink.values('base_model.model.head.weight')]).toEqual([...HEAD.values])
    expect(plan.adapterConfig?.modules_to_save).toEqual(['head'])
  })
})

describe('cat refuses', () => {
  const refusal = (text: string, inputs: readonly MergeInput[]) =>
    planText(text, inputs).then(
      () => ({ code: 'none', message: 'the plan was made' }),
      (error: { code: string; message: string }) => error,
    )

  it('trained heads in two adapters, naming both and the tensor', async () => {
    const headed = (ref: string) => lora(ref, { ...pair('x.q', 2, 1), 'base_model.model.head.weight': HEAD })
    const error = await refusal(cat({ a: 1, b: 1 }), [headed('a'), headed('b')])
    expect(error.code).toBe('MERGE_UNSUPPORTED')
    expect(error.message).toMatch(/^a and b both bring a whole tensor head\.weight/)
  })

  it('factors of different width for one module', async () => {
    const wide = lora('wide', {
      'base_model.model.x.q.lora_A.weight': { shape: [2, 6], values: noise(12, 1) },
      'base_model.model.x.q.lora_B.weight': { shape: [4, 2], values: noise(8, 1) },
    })
    const error = await refusal(cat({ one: 1, wide: 1 }), [one(), wide])
    expect(error.code).toBe('SHAPE_MISMATCH')
    expect(error.message).toContain('[2, 6]')
  })

  it.each([
    ['a whole model', cat({ m: 1 }), [model('m', { w: { shape: [1], values: [1] } })], 'not a LoRA adapter'],
    [
      'base+adapter',
      cat({ 'm+one': 1 }),
      [model('m', { w: { shape: [1], values: [1] } }), one()],
      'name the adapter alone',
    ],
    ['a missing weight', 'merge_method: cat\nmodels: [{ model: one }]\n', [one()], "has no 'weight'"],
    [
      'weights stored both ways',
      cat({ one: 1, two: 1 }),
      [one(), lora('two', pair('x.q', 2, 1), { fan_in_fan_out: true })],
      'fan_in_fan_out',
    ],
    ['DoRA', cat({ dora: 1 }), [lora('dora', pair('x.q', 2, 1), { use_dora: true })], 'DoRA'],
    ['a model as output', cat({ one: 1 }, 'output: { kind: model }\n'), [one()], 'it makes an adapter'],
  ])('%s', async (_, text, inputs, message) => {
    expect((await refusal(text, inputs)).message).toContain(message)
  })

  it('adapters that do not fit the base that the recipe names', async () => {
    const base = model('base', { 'x.q.weight': { shape: [4, 5], values: noise(20, 1) } })
    const error = await refusal(cat({ one: 1 }, 'base_model: base\n'), [base, one()])
    expect(error.code).toBe('BASE_DIFFERS')
    expect(error.message).toContain('x.v')
  })
})

describe('a LoRA on a base', () => {
  it('replaces whole tensors that it saved, with the weight of a difference', async () => {
    const base = model('base', {
      'x.q.weight': { shape: [4, 5], values: noise(20, 1) },
      'head.weight': { shape: [2, 4], values: noise(8, 2) },
    })
    const input = lora('one', { ...pair('x.q', 2, 1), 'base_model.model.head.weight': HEAD })
    const text = (weight: number) =>
      `{ merge_method: task_arithmetic, base_model: base, models: [{ model: one, parameters: { weight: ${weight} } }] }`
    const whole = await mergeText(text(1), [base, input])
    expect([...whole.sink.values('head.weight')]).toEqual([...HEAD.values])
    const half = await mergeText(text(0.5), [base, input])
    const origin = noise(8, 2)
    half.sink.values('head.weight').forEach((value, i) => {
      expect(Math.abs(value - (origin[i]! + HEAD.values[i]!) / 2)).toBeLessThan(1e-6)
    })
  })

  it('of rank 5 is summed over all its components', async () => {
    const zero = model('base', { 'x.q.weight': { shape: [4, 5], values: new Float32Array(20) } })
    const input = lora('five', pair('x.q', 5, 3), { r: 5, lora_alpha: 5 })
    const text =
      '{ merge_method: task_arithmetic, base_model: base, models: [{ model: five, parameters: { weight: 1 } }] }'
    const { sink } = await mergeText(text, [zero, input])
    const expected = await product(input, 'q', 1)
    sink.values('x.q.weight').forEach((value, i) => {
      expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-6)
    })
  })
})
