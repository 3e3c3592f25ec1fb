import { describe, expect, test } from 'vitest'
import { readTau } from '../../../compress/node/tau-reader.ts'
import { type ExpertKind, type RawOptions, resolveOptions } from '../../../compress/options.ts'
import { planTaskVector, type TauTensor, unitTensors } from '../../../compress/task-vector.ts'
import type { LocatedSource } from '../../../tensors/tensor-location.ts'
import { refusalOf } from '../../fixtures/refusal.ts'
import { type ModelTensor, tempModel } from '../../fixtures/temp-model.ts'

const zeros = (name: string, ...shape: number[]): ModelTensor => ({
  name,
  shape,
  values: new Float32Array(shape.reduce((a, b) => a * b, 1)),
})

function plan(kind: ExpertKind, source: LocatedSource, base?: LocatedSource, raw: RawOptions = {}) {
  return planTaskVector({ kind, source, ...(base ? { base: { source: base } } : {}) }, resolveOptions(kind, raw))
}

function ternary(result: ReturnType<typeof plan>): string[] {
  return result.units.flatMap(unitTensors).map(({ name }) => name)
}

function only(result: ReturnType<typeof plan>): TauTensor {
  const [tensor] = result.units.flatMap(unitTensors)
  return tensor!
}

describe('the task vector of a LoRA', () => {
  const pair = [zeros('base_model.model.q.lora_A.weight', 2, 4), zeros('base_model.model.q.lora_B.weight', 3, 2)]

  test('has its modules as pairs, measured from zero', async () => {
    const { origin, units } = plan('lora', await tempModel(pair))
    expect(origin).toBe('zero')
    expect(units).toMatchObject([
      { kind: 'pair', module: 'q', rank: 2, inFeatures: 4, outFeatures: 3, a: { origin: 0 }, b: { origin: 0 } },
    ])
  })

  test('leaves the head out and keeps the order of the file', async () => {
    const source = await tempModel([pair[1]!, zeros('base_model.model.classifier.weight', 2, 3), pair[0]!])
    const { tensors, lossless } = plan('lora', source)
    expect(tensors.map(({ name, storage }) => `${storage} ${name}`)).toEqual([
      'trits base_model.model.q.lora_B.weight',
      'lossless base_model.model.classifier.weight',
      'trits base_model.model.q.lora_A.weight',
    ])
    expect(lossless.map(({ info }) => info.name)).toEqual(['base_model.model.classifier.weight'])
  })

  test('loses both factors of a module when one is excluded', async () => {
    expect(ternary(plan('lora', await tempModel(pair), undefined, { exclude: '*lora_B*' }))).toEqual([])
  })

  test('takes the factors of a convolution one by one', async () => {
    const source = await tempModel([zeros('m.lora_A.weight', 2, 4, 3, 3), zeros('m.lora_B.weight', 5, 2, 1, 1)])
    expect(plan('lora', source).units.map(({ kind }) => kind)).toEqual(['tensor', 'tensor'])
  })

  test('is refused without any lora_A', async () => {
    const source = await tempModel([zeros('base_model.model.classifier.weight', 2, 3)])
    expect(await refusalOf(() => plan('lora', source))).toMatchObject({ code: 'ADAPTER_CONFIG_INVALID' })
  })

  test('is refused when A and B do not fit', async () => {
    const source = await tempModel([zeros('m.lora_A.weight', 2, 4), zeros('m.lora_B.weight', 3, 5)])
    expect(await refusalOf(() => plan('lora', source))).toMatchObject({ code: 'ADAPTER_SHAPE_MISMATCH' })
  })
})

describe('the task vector of (IA)3', () => {
  test('is measured from one', async () => {
    const source = await tempModel([{ name: 'm.ia3_l', shape: [3, 1], values: [1.5, 1, 0] }])
    const result = plan('ia3', source)
    expect(result.origin).toBe('one')
    expect([...(await readTau(only(result)))]).toEqual([0.5, 0, -1])
  })
})

describe('the task vector of a full fine-tune', () => {
  test('is the difference to the base, rounded once to f32', async () => {
    const source = await tempModel([{ name: 'w', shape: [1, 2], dtype: 'F16', values: [1.5, -2] }])
    const base = await tempModel([{ name: 'w', shape: [1, 2], values: [1e-9, 0.1] }])
    const tau = await readTau(only(plan('full', source, base)))
    expect([...tau]).toEqual([1.5, -2].map((value, i) => Math.fround(value - Math.fround([1e-9, 0.1][i]!))))
  })

  test('finds base tensors behind a prefix and says which names differ', async () => {
    const source = await tempModel([zeros('bert.encoder.w', 2, 2), zeros('bert.encoder.bias', 2)])
    const base = await tempModel([zeros('encoder.w', 2, 2), zeros('encoder.bias', 2)])
    const result = plan('full', source, base)
    expect(result.baseNames).toEqual({ 'bert.encoder.w': 'encoder.w', 'bert.encoder.bias': 'encoder.bias' })
    expect(result.lossless[0]?.reference).toEqual(base.locate('encoder.bias'))
  })

  test('says that names are the same where they are', async () => {
    const source = await tempModel([zeros('encoder.w', 2, 2)])
    expect(plan('full', source, await tempModel([zeros('encoder.w', 2, 2)])).baseNames).toBe('same')
  })

  test('keeps what the base lacks as it is', async () => {
    const source = await tempModel([zeros('a.w', 2, 2), zeros('b.w', 2, 2), zeros('new.w', 2, 2)])
    const base = await tempModel([zeros('a.w', 2, 2), zeros('b.w', 2, 2)])
    const result = plan('full', source, base)
    expect(ternary(result)).toEqual(['a.w', 'b.w'])
    expect(result.lossless).toMatchObject([{ info: { name: 'new.w' } }])
    expect(result.lossless[0]).not.toHaveProperty('reference')
  })

  test('codes an embedding that grew without the base', async () => {
    const source = await tempModel([zeros('a.w', 2, 2), zeros('embed_tokens.weight', 5, 2)])
    const base = await tempModel([zeros('a.w', 2, 2), zeros('embed_tokens.weight', 4, 2)])
    expect(plan('full', source, base).lossless[0]).not.toHaveProperty('reference')
  })

  test('codes an integer buffer against the base', async () => {
    const ids = { name: 'position_ids', shape: [1], dtype: 'I64' as const, bytes: new Uint8Array(8) }
    const source = await tempModel([zeros('a.w', 2, 2), ids])
    const base = await tempModel([zeros('a.w', 2, 2), ids])
    expect(plan('full', source, base).lossless[0]).toHaveProperty('reference')
  })

  test('needs a base', async () => {
    const source = await tempModel([zeros('a.w', 2, 2)])
    expect(await refusalOf(() => plan('full', source))).toMatchObject({ code: 'BASE_REQUIRED' })
  })

  test('is refused when a shape differs, with the tensor and both shapes', async () => {
    const source = await tempModel([zeros('bert.a.w', 2, 2), zeros('bert.b.w', 2, 3)])
    const base = await tempModel([zeros('a.w', 2, 2), zeros('b.w', 3, 2)])
    expect(await refusalOf(() => plan('full', source, base))).toMatchObject({
      code: 'BASE_MISMATCH',
      detail: { tensor: 'bert.b.w', shape: [2, 3], baseTensor: 'b.w', baseShape: [3, 2] },
    })
  })

  test('is refused when most names are unknown to the base, with the first of them', async () => {
    const source = await tempModel([zeros('a.w', 2, 2), zeros('x.w', 2, 2), zeros('y.w', 2, 2)])
    const base = await tempModel([zeros('a.w', 2, 2)])
    expect(await refusalOf(() => plan('full', source, base))).toMatchObject({
      code: 'BASE_MISMATCH',
      detail: { tensor: 'x.w', missing: 2, tensors: 3 },
    })
  })

  test('takes names as names, even those that objects have by nature', async () => {
    const source = await tempModel([zeros('p.__proto__', 2, 2), zeros('p.constructor', 2, 2)])
    const base = await tempModel([zeros('__proto__', 2, 2), zeros('constructor', 2, 2)])
    const { baseNames } = plan('full', source, base)
    expect(Object.entries(baseNames)).toEqual([
      ['p.__proto__', '__proto__'],
      ['p.constructor', 'constructor'],
    ])
  })
})
