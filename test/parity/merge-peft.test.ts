/** Against what peft 0.21 made of the same adapters (scripts/golden/peft-merges.py, and the public fixtures). */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import type { MergeInput } from '../../merge/input.ts'
import { type AdapterConfig, adapterRole, parseAdapterConfig } from '../../tensors/adapter-config.ts'
import { memorySource } from '../../tensors/byte-source.ts'
import { openSafetensors } from '../../tensors/safetensors-reader.ts'
import type { TensorSource } from '../../tensors/tensor.ts'
import { fixturesDir } from '../fixtures/fixtures-dir.ts'
import { type CollectingSink, mergeText } from '../unit/merge/models.ts'

/** What another order of summation in the matrix product may change. */
const PRODUCT_TOLERANCE = 1e-7

const GOLDEN = fileURLToPath(new URL('golden/merge-peft/', import.meta.url))
const fixtures = fixturesDir()

function open(path: string): Promise<TensorSource> {
  return openSafetensors(memorySource(readFileSync(path)))
}

function configOf(path: string): AdapterConfig {
  return parseAdapterConfig(readFileSync(path, 'utf8'))
}

async function baseAt(ref: string, path: string): Promise<MergeInput> {
  return { ref, identity: ref, kind: 'model', source: await open(path) }
}

async function toyAdapter(name: string): Promise<MergeInput> {
  const source = await open(`${GOLDEN}${name}.safetensors`)
  return { ref: name, identity: name, kind: 'lora', source, adapterConfig: configOf(`${GOLDEN}${name}.json`) }
}

/** A view without the trained heads: those of several tasks cannot be stacked. */
function factorsOnly(source: TensorSource): TensorSource {
  return {
    tensors: source.tensors.filter(({ name }) => adapterRole(name) !== 'saved'),
    metadata: source.metadata,
    read: (name, signal) => source.read(name, signal),
    readBytes: (name, signal) => source.readBytes(name, signal),
  }
}

async function fixtureAdapter(task: string): Promise<MergeInput> {
  const folder = `${fixtures}/lora/${task}`
  const source = factorsOnly(await open(`${folder}/adapter_model.safetensors`))
  return { ref: task, identity: task, kind: 'lora', source, adapterConfig: configOf(`${folder}/adapter_config.json`) }
}

async function largestDifference(sink: CollectingSink, expected: TensorSource, name: string): Promise<number> {
  const [ours, theirs] = [sink.values(name), await expected.read(name)]
  expect(ours.length).toBe(theirs.length)
  return ours.reduce((largest, value, i) => Math.max(largest, Math.abs(value - theirs[i]!)), 0)
}

describe('an adapter applied to its base is what merge_and_unload gives', () => {
  it.each([
    ['plain', 'of two linear layers'],
    ['rslora', 'with rank-stabilised scaling'],
    ['patterns', 'with rank and alpha patterns'],
    ['embedding', 'of an embedding, with trained biases'],
    ['fan-in-fan-out', 'of weights stored (in, out), also a square one'],
    ['convolution', 'of a convolution'],
    ['saved', 'with a trained head that replaces the own one of the base'],
  ])('%s: an adapter %s', async (name) => {
    const recipe = `{ merge_method: task_arithmetic, base_model: toy, models: [{ model: ${name}, parameters: { weight: 1 } }] }`
    const { sink } = await mergeText(recipe, [await baseAt('toy', `${GOLDEN}base.safetensors`), await toyAdapter(name)])
    const base = await open(`${GOLDEN}base.safetensors`)
    const expected = await open(`${GOLDEN}${name}-merged.safetensors`)
    let changed = 0
    for (const { name: tensor } of expected.tensors) {
      expect(await largestDifference(sink, expected, tensor), tensor).toBeLessThanOrEqual(PRODUCT_TOLERANCE)
      if ((await largestDifference(sink, base, tensor)) > 0.01) changed++
    }
    expect(changed).toBeGreaterThan(0)
  })
})

describe("cat of two adapters with different ranks and modules is PEFT's", () => {
  it('without the zero rows that PEFT pads with, and with the head that PEFT drops', async () => {
    const recipe = '{ adapters: [plain, saved], weights: [0.7, -0.4], combination_type: cat }'
    const { sink, plan } = await mergeText(recipe, [await toyAdapter('plain'), await toyAdapter('saved')])
    const expected = await open(`${GOLDEN}cat.safetensors`)
    for (const name of ['base_model.model.k.lora_A.weight', 'base_model.model.k.lora_B.weight']) {
      expect([...sink.values(name)]).toEqual([...(await expected.read(name))])
    }
    const [a, padded] = ['lora_A', 'lora_A'].map((role) => `base_model.model.q.${role}.weight`)
    const rows = await expected.read(padded!)
    expect([...sink.values(a!)]).toEqual([...rows.subarray(0, 3 * 8)])
    expect(rows.subarray(3 * 8).every((value) => value === 0)).toBe(true)
    expect(plan.adapterConfig).toMatchObject({ r: 8, lora_alpha: 8, rank_pattern: { q: 3 }, alpha_pattern: { q: 3 } })
    expect(sink.values('base_model.model.head.bias').length).toBe(2)
  })
})

describe.skipIf(!fixtures)('the public adapters', () => {
  const tasks = ['debsection', 'wnnoun', 'moviesent']

  it('stack bit for bit as PEFT stacks them', async () => {
    const recipe = `{ adapters: [${tasks}], weights: [0.7, 0.5, 0.3], combination_type: cat }`
    const { sink, plan } = await mergeText(recipe, await Promise.all(tasks.map(fixtureAdapter)))
    const expected = await open(`${fixtures}/golden/peft/cat.safetensors`)
    for (const { name } of expected.tensors) {
      const ours = sink.bytes.get(`base_model.model.bert.${name}`)
      expect(Buffer.from(ours!).equals(await expected.readBytes(name)), name).toBe(true)
    }
    expect(expected.tensors.length).toBeGreaterThan(0)
    expect(plan.adapterConfig).toMatchObject({ r: 48, lora_alpha: 48, rank_pattern: {} })
  })

  it('merge into the base as merge_and_unload does', async () => {
    const recipe =
      '{ merge_method: task_arithmetic, base_model: minilm, dtype: float32, ' +
      'models: [{ model: debsection, parameters: { weight: 1 } }] }'
    const base = await baseAt('minilm', `${fixtures}/base-minilm/model.safetensors`)
    const { sink } = await mergeText(recipe, [base, await fixtureAdapter('debsection')])
    const expected = await open(`${fixtures}/golden/peft/merge_and_unload_a0.safetensors`)
    expect(expected.tensors.length).toBeGreaterThan(0)
    for (const { name } of expected.tensors) {
      expect(await largestDifference(sink, expected, name), name).toBeLessThanOrEqual(PRODUCT_TOLERANCE)
    }
  })

  it('merge by task arithmetic as the whole-model reference does', async () => {
    const models = tasks.map((task) => `{ model: ${task}, parameters: { weight: 0.4 } }`)
    const recipe = `{ merge_method: task_arithmetic, base_model: minilm, dtype: float32, models: [${models}] }`
    const base = await baseAt('minilm', `${fixtures}/base-minilm/model.safetensors`)
    const { sink, report } = await mergeText(recipe, [base, ...(await Promise.all(tasks.map(fixtureAdapter)))])
    const expected = await open(`${fixtures}/golden/full/task_arithmetic_l0.4.safetensors`)
    expect(expected.tensors.length).toBeGreaterThan(0)
    for (const { name } of expected.tensors) {
      expect(await largestDifference(sink, expected, name), name).toBeLessThanOrEqual(2 * PRODUCT_TOLERANCE)
    }
    const index = JSON.parse(readFileSync(`${fixtures}/golden/full/index.json`, 'utf8'))
    const measured = index.cases['task_arithmetic_l0.4'] as Record<string, { delta_l2: number }>
    for (const { name, deltaNorm } of report.tensors) {
      const delta = measured[name]?.delta_l2
      if (delta !== undefined) expect(Math.abs(deltaNorm! / delta - 1), name).toBeLessThan(1e-4)
    }
  })
})
