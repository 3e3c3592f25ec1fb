import { describe, expect, it } from 'vitest'
import { planMerge } from '../../../merge/plan.ts'
import { parseRecipe } from '../../../merge/recipe.ts'
import { runMerge } from '../../../merge/run-merge.ts'
import {
  CollectingSink,
  lora,
  mergeText,
  model,
  noise,
  opener,
  type PlainTensors,
  planText,
  taskVector,
} from './models.ts'

const shape = [3, 4]
const ints = (values: number[]) => ({ shape: [2], values, dtype: 'I64' as const })
const W = (seed: number, dtype: 'F32' | 'BF16' | 'F16' = 'F32') => ({ shape, values: noise(12, seed), dtype })
const base = (more: PlainTensors = {}) => model('base', { w: W(1), v: W(2), ids: ints([0, 1]), ...more })
const one = (method: string, name: string, parameters: string, more = '') =>
  `merge_method: ${method}\nbase_model: base\nmodels: [{ model: ${name}, parameters: { ${parameters} } }]\n${more}`

describe('the output', () => {
  it('has the base names in their order and says it is for PyTorch', async () => {
    const { sink, plan } = await mergeText(one('ties', 'a', 'weight: 1'), [base(), model('a', { v: W(3), w: W(4) })])
    expect(sink.tensors.map(({ name }) => name)).toEqual(['w', 'v', 'ids'])
    expect(sink.metadata).toEqual({ format: 'pt' })
    expect(sink.ended).toBe(true)
    expect(plan.outputKind).toBe('model')
  })

  it.each([
    ['dtype: float16\n', 'F16'],
    ['dtype: float32\nout_dtype: bfloat16\n', 'BF16'],
    ['', 'F32'],
  ])('has the dtype that %j asks for', async (more, dtype) => {
    const { sink, plan } = await mergeText(one('ties', 'a', 'weight: 0.5', more), [
      base(),
      model('a', { w: W(3), v: W(4) }),
    ])
    expect(sink.tensors.map((tensor) => tensor.dtype)).toEqual([dtype, dtype, 'I64'])
    expect(plan.configPatch.dtype).toBe({ F16: 'float16', BF16: 'bfloat16', F32: 'float32' }[dtype])
  })

  it('follows the base for adapters and differences, and the wider of two whole models', async () => {
    const half = model('base', { w: W(1, 'BF16') })
    const dtypes = async (input: Parameters<typeof opener>[0][number]) =>
      (await planText(one('task_arithmetic', input.ref, 'weight: 0.5'), [half, input])).tensors[0]?.dtype
    expect(await dtypes(taskVector('a', { w: W(3) }))).toBe('BF16')
    expect(await dtypes(model('a', { w: W(3, 'BF16') }))).toBe('BF16')
    expect(await dtypes(model('a', { w: W(3, 'F16') }))).toBe('F32')
    expect(await dtypes(model('a', { w: W(3, 'F32') }))).toBe('F32')
  })

  it('is in bf16 the f32 result rounded once', async () => {
    const inputs = [base(), model('a', { w: W(3), v: W(4) }), taskVector('b', { w: W(5) })]
    const models = '[{ model: a, parameters: { weight: 0.3 } }, { model: b, parameters: { weight: 0.3 } }]'
    const text = (out: string) =>
      `{ merge_method: task_arithmetic, base_model: base, models: ${models}, out_dtype: ${out} }`
    const [wide, narrow] = [await mergeText(text('float32'), inputs), await mergeText(text('bfloat16'), inputs)]
    const bits = new Uint32Array(wide.sink.values('w').buffer)
    const rounded = Array.from(bits, (word) => ((word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000) >>> 0)
    expect([...new Uint32Array(narrow.sink.values('w').buffer)]).toEqual(rounded)
  })

  it('keeps the integers of the base and reports inputs that differ', async () => {
    const { sink, report } = await mergeText(one('ties', 'a', 'weight: 1'), [
      base(),
      model('a', { w: W(3), v: W(4), ids: ints([0, 2]) }),
    ])
    expect([...sink.values('ids')]).toEqual([0, 1])
    expect(report.warnings).toEqual([expect.stringContaining('ids (I64) of a differs')])
  })

  it('takes over a head that one input alone has, and leaves out heads that several have', async () => {
    const head = (seed: number) => ({ w: W(3), v: W(4), 'head.weight': { shape: [2], values: noise(2, seed) } })
    const single = await mergeText(one('ties', 'a', 'weight: 1'), [base(), taskVector('a', head(7))])
    expect([...single.sink.values('head.weight')]).toEqual([...noise(2, 7)])
    const models = '[{ model: a, parameters: { weight: 1 } }, { model: b, parameters: { weight: 1 } }]'
    const several = await mergeText(`{ merge_method: ties, base_model: base, models: ${models} }`, [
      base(),
      taskVector('a', head(7)),
      taskVector('b', head(8)),
    ])
    expect(several.sink.tensors.map(({ name }) => name)).toEqual(['w', 'v', 'ids'])
    expect(several.plan.warnings).toEqual([expect.stringContaining('head.weight is not in the base and comes with')])
  })
})

describe('an output layer tied to the embedding', () => {
  const tied = { 'model.embed_tokens.weight': W(1) }
  const untied = { ...tied, 'lm_head.weight': W(2) }
  const text = one('task_arithmetic', 'a', 'weight: 0.5')

  it('is written on its own where an input has its own, starting from the embedding', async () => {
    const { sink, plan } = await mergeText(text, [model('base', tied), model('a', untied)])
    expect(plan.configPatch.untied).toBe(true)
    const [origin, own] = [noise(12, 1), noise(12, 2)]
    const expected = [...origin].map((b, i) => Math.fround(b + Math.fround(0.5 * Math.fround(own[i]! - b))))
    expect([...sink.values('lm_head.weight')]).toEqual(expected)
  })

  it('stands for the head of a whole model that has none', async () => {
    const { sink } = await mergeText(one('linear', 'a', 'weight: 1'), [model('base', untied), model('a', tied)])
    expect([...sink.values('lm_head.weight')]).toEqual([...noise(12, 1)])
  })

  it('stays tied where every input is', async () => {
    const { sink, plan } = await mergeText(text, [
      model('base', tied),
      model('a', { 'model.embed_tokens.weight': W(2) }),
    ])
    expect(sink.tensors.map(({ name }) => name)).toEqual(['model.embed_tokens.weight'])
    expect(plan.configPatch.untied).toBeUndefined()
  })
})

describe('a run', () => {
  const inputs = () => [base(), model('a', { w: W(3), v: W(4) })]

  it('reports progress in bytes up to the total', async () => {
    const seen: [number, number][] = []
    const { report } = await mergeText(one('ties', 'a', 'weight: 0.5'), inputs(), {
      onProgress: (...step) => seen.push(step),
    })
    expect(seen).toEqual([
      [48, 112],
      [96, 112],
      [112, 112],
    ])
    expect(report.outputBytes).toBe(112)
  })

  it('stops at the next tensor when it is cancelled, and does not end the sink', async () => {
    const plan = await planText(one('ties', 'a', 'weight: 0.5'), inputs())
    const abort = new AbortController()
    const sink = new CollectingSink()
    const run = runMerge(plan, sink, { signal: abort.signal, onProgress: () => abort.abort(new Error('enough')) })
    await expect(run).rejects.toThrow('enough')
    expect(sink.bytes.size).toBe(1)
    expect(sink.ended).toBe(false)
  })

  it('does not begin when it is already cancelled', async () => {
    const plan = await planText(one('ties', 'a', 'weight: 0.5'), inputs())
    const sink = new CollectingSink()
    await expect(runMerge(plan, sink, { signal: AbortSignal.abort(new Error('no')) })).rejects.toThrow('no')
    expect(sink.tensors).toEqual([])
  })

  it('stops opening inputs when planning is cancelled', async () => {
    const recipe = parseRecipe(one('ties', 'a', 'weight: 0.5'), 'yaml')
    await expect(planMerge(recipe, opener(inputs()), AbortSignal.abort(new Error('no')))).rejects.toThrow('no')
  })

  it('gives a failing sink back as it is', async () => {
    const plan = await planText(one('ties', 'a', 'weight: 0.5'), inputs())
    const sink = new CollectingSink()
    sink.write = async () => {
      throw new Error('disk full')
    }
    await expect(runMerge(plan, sink)).rejects.toThrow('disk full')
  })
})

describe('the report', () => {
  const tau = (values: number[]) => taskVector(`t${values}`, { w: { shape: [1, 4], values } })
  const origin = () => model('base', { w: { shape: [1, 4], values: [1, 1, 1, 1] }, v: W(2) })
  const two = (method: string, density: number) => {
    const parameters = `{ weight: 1, density: ${density} }`
    const models = `[{ model: "t1,2,0,4", parameters: ${parameters} }, { model: "t-1,2,0,0", parameters: ${parameters} }]`
    return mergeText(`{ merge_method: ${method}, base_model: base, models: ${models} }`, [
      origin(),
      tau([1, 2, 0, 4]),
      tau([-1, 2, 0, 0]),
    ])
  }

  it('gives the norm of the difference, and null where a tensor was copied', async () => {
    const { report } = await two('task_arithmetic', 1)
    expect(report.tensors).toEqual([
      { name: 'w', action: 'merged', deltaNorm: Math.sqrt(32), signConflictShare: null, trimmedShare: null },
      { name: 'v', action: 'copied', deltaNorm: null, signConflictShare: null, trimmedShare: null },
    ])
    expect(report.deltaNorm).toBeCloseTo(Math.sqrt(32))
  })

  it('gives the share of sign conflicts where signs are elected', async () => {
    expect((await two('ties', 1)).report.tensors[0]).toMatchObject({ signConflictShare: 1 / 3, trimmedShare: null })
  })

  it('gives the share that was trimmed', async () => {
    // Kept: [2, 4] of [1, 2, 4] and [-1, 2] of [-1, 2].
    expect((await two('ties', 0.5)).report.tensors[0]).toMatchObject({ trimmedShare: 1 - 4 / 5, signConflictShare: 0 })
  })
})

describe('the digest of a plan', () => {
  const inputs = () => [base(), model('a', { w: W(3), v: W(4) }), taskVector('b', { w: W(5) })]
  const digest = async (text: string, from = inputs()) => (await planText(text, from)).digest
  const text = one('dare_ties', 'a', 'weight: 0.5, density: 0.5')

  it('is the same for the same meaning, however it is written', async () => {
    const json = JSON.stringify({
      output: { publish: 'ns/out' },
      models: [{ parameters: { density: [0.5, 0.5], weight: 0.5 }, model: 'a' }],
      base_model: 'base',
      merge_method: 'dare_ties',
    })
    expect((await planText(json, inputs(), 'json')).digest).toBe(await digest(text))
    expect(await digest(text)).toMatch(/^sha256:[0-9a-f]{64}$/)
  })

  it.each([
    ['weight', text.replace('weight: 0.5', 'weight: 0.25')],
    ['density', text.replace('density: 0.5', 'density: 0.25')],
    ['method', text.replace('dare_ties', 'dare_linear')],
    ['input', text.replace('model: a', 'model: b')],
    ['dtype', `${text}out_dtype: float16\n`],
    ['lambda', `${text}parameters: { lambda: 2 }\n`],
    ['seed', `${text}random_seed: 1\n`],
  ])('changes with the %s', async (_, changed) => {
    expect(await digest(changed)).not.toBe(await digest(text))
  })

  it('changes with the content of an input, and with the configuration of an adapter', async () => {
    expect(await digest(text, [base(), model('a', { w: W(9), v: W(4) })])).not.toBe(await digest(text))
    const factors = {
      'w.lora_A.weight': { shape: [2, 4], values: noise(8, 1) },
      'w.lora_B.weight': { shape: [3, 2], values: noise(6, 1) },
    }
    const from = (alpha: number) => [model('base', { 'w.weight': W(1) }), lora('a', factors, { lora_alpha: alpha })]
    expect(await digest(text, from(4))).not.toBe(await digest(text, from(8)))
  })

  it('does not change with the seed where nothing is random', async () => {
    const fixed = one('ties', 'a', 'weight: 0.5')
    expect(await digest(`${fixed}random_seed: 1\n`)).toBe(await digest(fixed))
  })
})

describe('random methods', () => {
  it('give the same bytes again, and others for another seed', async () => {
    const run = async (seed: number) => {
      const text = one('dare_linear', 'a', 'weight: 1, density: 0.5', `random_seed: ${seed}\n`)
      return (await mergeText(text, [base(), model('a', { w: W(3), v: W(4) })])).sink.all()
    }
    expect(await run(3)).toEqual(await run(3))
    expect(await run(3)).not.toEqual(await run(4))
  })
})
