import { describe, expect, it } from 'vitest'
import { adapterRole, loraScaling, moduleOf, pairLora, parseAdapterConfig } from '../../../tensors/adapter-config.ts'
import type { TensorInfo } from '../../../tensors/tensor.ts'

const LORA = {
  peft_type: 'LORA',
  task_type: 'SEQ_CLS',
  base_model_name_or_path: 'ns/base',
  r: 16,
  lora_alpha: 32,
  use_rslora: false,
  use_dora: false,
  lora_bias: false,
  bias: 'none',
  fan_in_fan_out: false,
  rank_pattern: {},
  alpha_pattern: {},
  target_modules: ['query', 'value'],
  modules_to_save: ['classifier', 'classifier', 'score'],
  lora_dropout: 0.05,
}

function config(changes: Record<string, unknown> = {}) {
  return parseAdapterConfig(JSON.stringify({ ...LORA, ...changes }))
}

function tensor(name: string, shape: number[]): TensorInfo {
  return { name, dtype: 'F32', shape }
}

describe('adapter_config.json of a LoRA', () => {
  it('is read field by field, and kept whole beside', () => {
    expect(config()).toEqual({
      peftType: 'LORA',
      r: 16,
      loraAlpha: 32,
      useRslora: false,
      useDora: false,
      loraBias: false,
      bias: 'none',
      fanInFanOut: false,
      rankPattern: {},
      alphaPattern: {},
      targetModules: ['query', 'value'],
      feedforwardModules: null,
      modulesToSave: ['classifier', 'score'],
      baseModelNameOrPath: 'ns/base',
      raw: LORA,
    })
  })

  it("gets PEFT's defaults where a field is absent or null", () => {
    const expected = { r: 8, loraAlpha: 8, bias: 'none', useRslora: false, rankPattern: {}, modulesToSave: [] }
    expect(parseAdapterConfig('{"peft_type":"LORA"}')).toMatchObject(expected)
    expect(
      config({ r: null, lora_alpha: null, bias: null, use_rslora: null, rank_pattern: null, modules_to_save: null }),
    ).toMatchObject(expected)
  })

  it('may give target_modules as one regular expression and alpha as a fraction', () => {
    expect(config({ target_modules: '.*(q|v)$', lora_alpha: 1.5 })).toMatchObject({
      targetModules: '.*(q|v)$',
      loraAlpha: 1.5,
    })
  })

  it('is still plain data that can be sent to a worker', () => {
    const original = config({ rank_pattern: { query: 4 } })
    expect(loraScaling(structuredClone(original), 'layer.query', 4)).toBe(8)
  })

  it.each([
    [{ peft_type: undefined }, /peft_type must be one of LORA, IA3; it is missing/],
    [{ peft_type: 'ADALORA' }, /peft_type must be one of LORA, IA3; it is "ADALORA"/],
    [{ r: 0 }, /r must be an integer from 1/],
    [{ r: -4 }, /r must be an integer from 1/],
    [{ r: 1.5 }, /r must be an integer from 1/],
    [{ r: '16' }, /r must be an integer from 1 to 1000000; it is "16"/],
    [{ r: 1e9 }, /r must be/],
    [{ lora_alpha: '32' }, /lora_alpha must be a finite number/],
    [{ use_rslora: 'yes' }, /use_rslora must be true or false; it is "yes"/],
    [{ use_dora: 1 }, /use_dora/],
    [{ lora_bias: 'no' }, /lora_bias/],
    [{ fan_in_fan_out: [] }, /fan_in_fan_out/],
    [{ bias: 'some' }, /bias must be one of none, all, lora_only/],
    [{ rank_pattern: [] }, /rank_pattern must be an object/],
    [{ rank_pattern: { query: 0 } }, /rank_pattern\["query"\] must be an integer from 1/],
    [{ alpha_pattern: { query: null } }, /alpha_pattern\["query"\] must be a finite number/],
    [{ alpha_pattern: { '(?=x)query': 1 } }, /alpha_pattern: the pattern "\(\?=x\)query"/],
    [{ rank_pattern: { '(query': 1 } }, /rank_pattern: the pattern "\(query" has a \( without/],
    [{ target_modules: [1] }, /target_modules must be a list/],
    [{ target_modules: {} }, /target_modules must be a list/],
    [{ modules_to_save: 'classifier' }, /modules_to_save must be a list/],
    [{ base_model_name_or_path: 5 }, /base_model_name_or_path must be a string/],
  ] as const)('is refused with the field and what it may be: %j', (changes, message) => {
    expect(() => config(changes)).toThrow(
      expect.objectContaining({ code: 'ADAPTER_CONFIG_INVALID', message: expect.stringMatching(message) }),
    )
  })

  it.each([
    ['no JSON', '{'],
    ['an array', '[]'],
    ['nothing', ''],
    ["Python's NaN", '{"peft_type":"LORA","lora_alpha":NaN}'],
    ['a number beyond all doubles', '{"peft_type":"LORA","lora_alpha":1e999}'],
    ['a field twice', '{"peft_type":"LORA","r":4,"r":8}'],
    ['patterns whose order an object cannot keep', '{"peft_type":"LORA","rank_pattern":{"b":1,"0":2}}'],
    ['endless nesting', `{"peft_type":"LORA","x":${'['.repeat(100_000)}`],
    ['megabytes', `{"peft_type":"LORA","x":"${'x'.repeat(4_000_000)}"}`],
  ])('is refused for %s', (_, text) => {
    expect(() => parseAdapterConfig(text)).toThrow(expect.objectContaining({ code: 'ADAPTER_CONFIG_INVALID' }))
  })
})

describe('adapter_config.json of an (IA)3', () => {
  it('has no rank', () => {
    const text = '{"peft_type":"IA3","target_modules":["k","v","fc2"],"feedforward_modules":["fc2"]}'
    expect(parseAdapterConfig(text)).toMatchObject({ peftType: 'IA3', r: 0, loraAlpha: 0, feedforwardModules: ['fc2'] })
  })
})

describe('the names in an adapter file', () => {
  it.each([
    [
      'base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight',
      'lora_A',
      'bert.encoder.layer.0.attention.self.query',
    ],
    ['base_model.model.bert.pooler.dense.lora_B.weight', 'lora_B', 'bert.pooler.dense'],
    ['base_model.model.model.layers.9.self_attn.v_proj.lora_B.bias', 'lora_bias', 'model.layers.9.self_attn.v_proj'],
    ['base_model.model.embed.lora_embedding_A', 'lora_embedding_A', 'embed'],
    ['base_model.model.embed.lora_embedding_B', 'lora_embedding_B', 'embed'],
    ['base_model.model.q.lora_magnitude_vector', 'lora_magnitude_vector', 'q'],
    ['base_model.model.q.lora_magnitude_vector.weight', 'lora_magnitude_vector', 'q'],
    [
      'base_model.model.encoder.block.0.layer.0.SelfAttention.k.ia3_l',
      'ia3',
      'encoder.block.0.layer.0.SelfAttention.k',
    ],
    ['base_model.model.classifier.weight', 'saved', 'classifier.weight'],
    ['base_model.model.classifier.bias', 'saved', 'classifier.bias'],
    ['base_model.model.classifier.modules_to_save.weight', 'saved', 'classifier.weight'],
    ['base_model.model.q.base_layer.bias', 'saved', 'q.bias'],
    ['bert.encoder.layer.0.output.dense.weight', 'saved', 'bert.encoder.layer.0.output.dense.weight'],
    ['base_model.model.q.lora_A.default.weight', 'other', 'q.lora_A.default.weight'],
    ['base_model.model.q.lora_E', 'other', 'q.lora_E'],
    ['base_model.model.q.hada_w1_a', 'other', 'q.hada_w1_a'],
    ['prompt_embeddings', 'other', 'prompt_embeddings'],
  ] as const)('%s is %s of %s', (name, role, module) => {
    expect(adapterRole(name)).toBe(role)
    expect(moduleOf(name)).toBe(module)
  })
})

describe('pairs of factors', () => {
  const A = 'base_model.model.x.q.lora_A.weight'
  const B = 'base_model.model.x.q.lora_B.weight'

  it('are found in the order of their lora_A, whatever lies between', () => {
    const pairs = pairLora([
      tensor('base_model.model.z.lora_B.weight', [6, 2]),
      tensor(B, [5, 4]),
      tensor('base_model.model.classifier.weight', [2, 3]),
      tensor(A, [4, 3]),
      tensor('base_model.model.z.lora_A.weight', [2, 7]),
    ])
    expect(pairs).toEqual([
      { module: 'x.q', a: A, b: B, rank: 4, inFeatures: 3, outFeatures: 5, embedding: false },
      {
        module: 'z',
        a: 'base_model.model.z.lora_A.weight',
        b: 'base_model.model.z.lora_B.weight',
        rank: 2,
        inFeatures: 7,
        outFeatures: 6,
        embedding: false,
      },
    ])
  })

  it('may be of an embedding', () => {
    const pairs = pairLora([
      tensor('base_model.model.emb.lora_embedding_A', [4, 100]),
      tensor('base_model.model.emb.lora_embedding_B', [8, 4]),
    ])
    expect(pairs).toMatchObject([{ module: 'emb', rank: 4, inFeatures: 100, outFeatures: 8, embedding: true }])
  })

  it('may be of a convolution', () => {
    expect(pairLora([tensor(A, [4, 3, 5, 5]), tensor(B, [8, 4, 1, 1])])).toMatchObject([
      { rank: 4, inFeatures: 75, outFeatures: 8 },
    ])
  })

  it.each([
    [
      [4, 3],
      [5, 2],
    ],
    [
      [4, 3],
      [4, 5],
    ],
    [[4], [5, 4]],
    [[4, 3], [5]],
    [[], []],
    [
      [0, 3],
      [5, 0],
    ],
    [
      [4, 3, 1, 1],
      [5, 4, 3, 3],
    ],
  ])('of shapes [%j] and [%j] are refused with both names and shapes', (a, b) => {
    expect(() => pairLora([tensor(A, a), tensor(B, b)])).toThrow(
      expect.objectContaining({
        code: 'ADAPTER_SHAPE_MISMATCH',
        message: expect.stringContaining(`${A} of shape [${a}] and ${B} of shape [${b}]`),
        detail: { module: 'x.q', a: A, b: B, shapeA: a, shapeB: b },
      }),
    )
  })

  it.each([
    [A, 'lora_B'],
    [B, 'lora_A'],
    ['base_model.model.e.lora_embedding_A', 'lora_embedding_B'],
    ['base_model.model.e.lora_embedding_B', 'lora_embedding_A'],
  ])('are refused where %s is alone', (name, missing) => {
    expect(() => pairLora([tensor(name, [4, 4])])).toThrow(
      expect.objectContaining({
        code: 'ADAPTER_SHAPE_MISMATCH',
        message: expect.stringContaining(`${name} of shape [4,4] has no ${missing}`),
      }),
    )
  })
})

describe('the scaling of a module', () => {
  it('is alpha over the rank', () => {
    expect(loraScaling(config(), 'bert.encoder.layer.0.attention.self.query', 16)).toBe(2)
  })

  it('is alpha over the root of the rank when rank-stabilised', () => {
    expect(loraScaling(config({ use_rslora: true }), 'q', 16)).toBe(8)
  })

  it('follows the first pattern that matches the end of the module', () => {
    const patterned = config({
      rank_pattern: { 'layer.0.query': 4, query: 8 },
      alpha_pattern: { '.*layer\\.[0-4]\\..*': 1, key: 64 },
    })
    expect(loraScaling(patterned, 'm.layer.0.query', 4)).toBe(1 / 4)
    expect(loraScaling(patterned, 'm.layer.7.query', 8)).toBe(4)
    expect(loraScaling(patterned, 'm.layer.3.key', 16)).toBe(1 / 16)
    expect(loraScaling(patterned, 'm.layer.9.key', 16)).toBe(4)
    expect(loraScaling(patterned, 'm.layer.9.monkey', 16)).toBe(2)
  })

  it('takes the root of the rank that a pattern gave', () => {
    expect(loraScaling(config({ use_rslora: true, rank_pattern: { q: 4 } }), 'layer.q', 4)).toBe(16)
  })

  it('is refused where the tensors have another rank than the configuration says', () => {
    expect(() => loraScaling(config({ rank_pattern: { q: 4 } }), 'layer.q', 16)).toThrow(
      expect.objectContaining({
        code: 'ADAPTER_SHAPE_MISMATCH',
        detail: { module: 'layer.q', rank: 16, configured: 4 },
      }),
    )
  })
})
