import { describe, expect, test } from 'vitest'
import { isEligible } from '../../../compress/eligibility.ts'
import { type ExpertKind, type RawOptions, resolveOptions } from '../../../compress/options.ts'
import type { Dtype } from '../../../tensors/dtype.ts'

function eligible(kind: ExpertKind, name: string, shape: number[], raw: RawOptions = {}, dtype: Dtype = 'F32') {
  return isEligible({ name, shape, dtype }, kind, resolveOptions(kind, raw))
}

describe('in a full fine-tune', () => {
  test.each([
    'model.layers.0.self_attn.q_proj.weight',
    'bert.encoder.layer.3.attention.output.dense.weight',
    'transformer.h.0.attn.c_attn.weight',
    'bert.pooler.dense.weight',
    'model.layers.0.mlp.experts.3.w1.weight',
  ])('the weight matrix %s is made ternary', (name) => {
    expect(eligible('full', name, [8, 8])).toBe(true)
  })

  test.each([
    'model.embed_tokens.weight',
    'bert.embeddings.word_embeddings.weight',
    'transformer.wte.weight',
    'shared.weight',
    'lm_head.weight',
    'classifier.weight',
    'classifier.out_proj.weight',
    'score.weight',
    'cls.predictions.decoder.weight',
    'model.layers.0.input_layernorm.weight',
    'model.layers.0.self_attn.q_norm.weight',
    'bert.encoder.layer.0.output.LayerNorm.weight',
    'transformer.h.0.ln_1.weight',
    'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight',
  ])('%s is kept as it is, though it be a matrix', (name) => {
    expect(eligible('full', name, [8, 8])).toBe(false)
  })

  test('a bias is kept as it is', () => {
    expect(eligible('full', 'model.layers.0.self_attn.q_proj.bias', [8])).toBe(false)
  })

  test('include re-admits what the rules leave out', () => {
    expect(eligible('full', 'model.embed_tokens.weight', [8, 8], { include: 'embed_tokens' })).toBe(true)
  })

  test('exclude leaves out a weight matrix, and include overrules it', () => {
    const name = 'model.layers.0.self_attn.q_proj.weight'
    expect(eligible('full', name, [8, 8], { exclude: 'layers.0' })).toBe(false)
    expect(eligible('full', name, [8, 8], { exclude: '*', include: 'q_proj' })).toBe(true)
  })
})

describe('in an adapter', () => {
  test.each([
    ['lora', 'base_model.model.q.lora_A.weight', true],
    ['lora', 'base_model.model.q.lora_B.weight', true],
    ['lora', 'base_model.model.embed.lora_embedding_A', true],
    ['lora', 'base_model.model.q.lora_magnitude_vector', false],
    ['lora', 'base_model.model.q.lora_B.bias', false],
    ['lora', 'base_model.model.classifier.weight', false],
    ['ia3', 'base_model.model.k.ia3_l', true],
    ['ia3', 'base_model.model.classifier.weight', false],
  ] as const)('of kind %s, %s is eligible: %s', (kind, name, expected) => {
    expect(eligible(kind, name, [4, 4])).toBe(expected)
  })
})

describe('never eligible, even by include', () => {
  test.each(['I64', 'F8_E4M3', 'BOOL'] as const)('is the dtype %s', (dtype) => {
    expect(eligible('full', 'a.weight', [8, 8], { include: '*' }, dtype)).toBe(false)
  })

  test('is a tensor without entries', () => {
    expect(eligible('full', 'a.weight', [0, 8], { include: '*' })).toBe(false)
  })

  test('is a tensor with more entries than a position can number', () => {
    expect(eligible('full', 'a.weight', [2 ** 16, 2 ** 15], { include: '*' })).toBe(false)
  })
})
