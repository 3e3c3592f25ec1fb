import { describe, expect, it } from 'vitest'
import type { MergeInput } from '../../../merge/input.ts'
import { memorySource } from '../../../tensors/byte-source.ts'
import type { Dtype } from '../../../tensors/dtype.ts'
import { openSafetensors, openSharded } from '../../../tensors/safetensors-reader.ts'
import { type ByteSink, SafetensorsWriter } from '../../../tensors/safetensors-writer.ts'
import type { TensorSource } from '../../../tensors/tensor.ts'
import { CollectingSink, lora, mergeText, model, noise, type PlainTensors, taskVector } from './models.ts'

const MODEL_METHODS = ['linear', 'task_arithmetic', 'ties', 'dare_linear', 'dare_ties']
const SHAPES: Record<string, number[]> = { 'embed.weight': [7, 6], 'layers.0.q.weight': [6, 6], 'norm.weight': [6] }

function weights(seed: number, dtype: Dtype = 'F32'): PlainTensors {
  return Object.fromEntries(
    Object.entries(SHAPES).map(([name, shape], i) => [
      name,
      {
        shape,
        dtype,
        values: noise(
          shape.reduce((a, b) => a * b, 1),
          seed * 10 + i,
        ),
      },
    ]),
  )
}

/** A model with values that arithmetic would not bring back: -0, subnormals, values far below the base's. */
function awkward(seed: number): PlainTensors {
  const values = noise(6, seed)
  values[0] = -0
  values[1] = 1e-42
  values[2] = 1e-12
  return { ...weights(seed), 'norm.weight': { shape: [6], values } }
}

const base = (dtype: Dtype = 'F32') => model('base', awkwardOr(dtype))

function awkwardOr(dtype: Dtype): PlainTensors {
  return dtype === 'F32' ? awkward(1) : weights(1, dtype)
}

const adapter = (ref: string, seed: number) =>
  lora(ref, {
    'base_model.model.layers.0.q.lora_A.weight': { shape: [2, 6], values: noise(12, seed) },
    'base_model.model.layers.0.q.lora_B.weight': { shape: [6, 2], values: noise(12, seed + 1) },
  })

function recipe(method: string, models: Record<string, string>, more = ''): string {
  const list = Object.entries(models).map(
    ([name, parameters]) => `  - { model: ${name}, parameters: { ${parameters} } }`,
  )
  return `merge_method: ${method}\nbase_model: base\nmodels:\n${list.join('\n')}\n${more}`
}

async function bytesOf(input: MergeInput): Promise<Record<string, string>> {
  const all: Record<string, string> = {}
  for (const { name } of input.source.tensors)
    all[name] = Buffer.from(await input.source.readBytes(name)).toString('hex')
  return all
}

describe.each(MODEL_METHODS)('%s', (method) => {
  it('of one model with weight 1 is that model, byte for byte', async () => {
    const expert = model('expert', awkward(2))
    const { sink } = await mergeText(recipe(method, { expert: 'weight: 1' }), [base(), expert])
    expect(sink.all()).toEqual(await bytesOf(expert))
  })

  it('of one difference with weight 1 is base plus difference, rounded once', async () => {
    const tau = taskVector('expert', weights(3))
    const { sink } = await mergeText(recipe(method, { expert: 'weight: 1' }), [base(), tau])
    for (const name of Object.keys(SHAPES)) {
      const [b, t] = [await base().source.read(name), await tau.source.read(name)]
      expect([...sink.values(name)]).toEqual([...b].map((value, i) => Math.fround(value + t[i]!)))
    }
  })

  it('does not depend on the order of the models', async () => {
    const inputs = [
      base(),
      model('a', weights(4)),
      taskVector('b', weights(5)),
      adapter('c', 6),
      model('d', weights(7)),
    ]
    const models = {
      a: 'weight: 0.7, density: 0.6',
      b: 'weight: 0.3, density: 0.7',
      c: 'weight: 0.9, density: 0.5',
      d: 'weight: 0.11, density: 0.8',
    }
    const [one, two] = await Promise.all(
      [models, Object.fromEntries(Object.entries(models).reverse())].map((order) =>
        mergeText(recipe(method, order), inputs),
      ),
    )
    expect(one!.sink.all()).toEqual(two!.sink.all())
    expect(one!.plan.digest).toBe(two!.plan.digest)
    expect(one!.sink.all()).not.toEqual(await bytesOf(base()))
  })

  it('of shards is the merge of the whole', async () => {
    const inputs = (split: boolean) =>
      Promise.all(
        [base(), model('a', weights(4)), model('b', weights(5))].map((input) => (split ? sharded(input) : input)),
      )
    const text = recipe(method, { a: 'weight: 0.7, density: 0.6', b: 'weight: 0.3, density: 0.7' })
    const whole = (await mergeText(text, await inputs(false))).sink.all()
    expect((await mergeText(text, await inputs(true))).sink.all()).toEqual(whole)
  })
})

describe.each(MODEL_METHODS.filter((method) => method !== 'linear'))('%s with weights of zero', (method) => {
  it.each(['F32', 'BF16', 'F16'] as const)('gives the bytes of the base in %s', async (dtype) => {
    const inputs = [base(dtype), model('a', weights(4, dtype)), taskVector('b', weights(5))]
    const { sink } = await mergeText(recipe(method, { a: 'weight: 0', b: 'weight: 0' }), inputs)
    expect(sink.all()).toEqual(await bytesOf(base(dtype)))
  })

  it('and lambda of zero too', async () => {
    const { sink } = await mergeText(recipe(method, { a: 'weight: 1' }, 'parameters: { lambda: 0 }\n'), [
      base(),
      model('a', weights(4)),
    ])
    expect(sink.all()).toEqual(await bytesOf(base()))
  })
})

describe('the base', () => {
  it('keeps its bits, also -0, where no input changes an entry', async () => {
    const zeros = taskVector('a', { ...weights(3), 'norm.weight': { shape: [6], values: [0, 0, 0, 0, 0, 1] } })
    const text = recipe('task_arithmetic', { a: 'weight: 0.5' })
    const { sink } = await mergeText(text, [base(), zeros])
    const before = await base().source.readBytes('norm.weight')
    expect([...sink.bytes.get('norm.weight')!.subarray(0, 20)]).toEqual([...before.subarray(0, 20)])
  })

  it('merges nothing where it is listed among the models', async () => {
    const inputs = [base(), model('a', weights(4)), model('b', weights(5))]
    const models = { a: 'weight: 0.5', b: 'weight: 0.3' }
    const listed = recipe('ties', models).replace('models:\n', 'models:\n  - model: base\n')
    expect((await mergeText(listed, inputs)).sink.all()).toEqual(
      (await mergeText(recipe('ties', models), inputs)).sink.all(),
    )
  })
})

describe('base+adapter', () => {
  it('is the adapter alone where the base is the base of the recipe', async () => {
    const inputs = [base(), adapter('c', 6)]
    const bare = await mergeText(recipe('task_arithmetic', { c: 'weight: 0.5' }), inputs)
    const named = await mergeText(recipe('task_arithmetic', { 'base+c': 'weight: 0.5' }), inputs)
    expect(named.sink.all()).toEqual(bare.sink.all())
  })

  it('brings both differences where it is another model', async () => {
    const inputs = [base(), model('other', weights(4)), adapter('c', 6)]
    const { sink } = await mergeText(recipe('task_arithmetic', { 'other+c': 'weight: 1' }), inputs)
    const together = await mergeText(recipe('task_arithmetic', { other: 'weight: 1', c: 'weight: 1' }), inputs)
    sink.values('layers.0.q.weight').forEach((value, i) => {
      expect(Math.abs(value - together.sink.values('layers.0.q.weight')[i]!)).toBeLessThan(1e-6)
    })
    expect(sink.all()['embed.weight']).toEqual((await bytesOf(inputs[1]!))['embed.weight'])
  })
})

/** The same tensors in two files with an index. */
async function sharded(input: MergeInput): Promise<MergeInput> {
  const files = new Map<string, Uint8Array>()
  const weightMap: Record<string, string> = {}
  const { tensors } = input.source
  for (const [number, part] of [tensors.slice(0, 1), tensors.slice(1)].entries()) {
    const file = `model-0000${number + 1}-of-00002.safetensors`
    for (const { name } of part) weightMap[name] = file
    files.set(
      file,
      await fileOf(
        input.source,
        part.map(({ name }) => name),
      ),
    )
  }
  const index = JSON.stringify({ metadata: {}, weight_map: weightMap })
  return { ...input, source: await openSharded(index, async (file) => memorySource(files.get(file)!)) }
}

async function fileOf(source: TensorSource, names: readonly string[]): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  const sink: ByteSink = {
    async write(bytes) {
      chunks.push(bytes.slice())
    },
    async end() {},
  }
  const writer = new SafetensorsWriter(sink)
  await writer.begin(
    source.tensors.filter(({ name }) => names.includes(name)),
    {},
  )
  for (const name of names) await writer.write(name, await source.readBytes(name))
  await writer.end()
  const bytes = Buffer.concat(chunks)
  expect((await openSafetensors(memorySource(bytes))).tensors.length).toBe(names.length)
  return bytes
}

it('the collecting sink refuses tensors out of order', async () => {
  const sink = new CollectingSink()
  await sink.begin([{ name: 'a', dtype: 'F32', shape: [1] }], {})
  await expect(sink.write('b', new Uint8Array(4))).rejects.toThrow('a was due')
})
