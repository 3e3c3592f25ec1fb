import { describe, expect, test } from 'vitest'
import { type CompressDeps, compressExpert, type ExpertInput } from '../../../compress/compressor.ts'
import { type Container, openContainer } from '../../../compress/container-reader.ts'
import { memoryPayload } from '../../../compress/container-writer.ts'
import type { Executor } from '../../../compress/executor.ts'
import { inlineExecutor } from '../../../compress/executor-inline.ts'
import { workerPool } from '../../../compress/node/worker-pool.ts'
import { type RawOptions, resolveOptions } from '../../../compress/options.ts'
import { INDEX_MASK, SIGN_BIT } from '../../../compress/quantized-tensor.ts'
import { reconstructedSource } from '../../../compress/reconstruct.ts'
import { memorySource } from '../../../tensors/byte-source.ts'
import { randomFloats } from '../../fixtures/random.ts'
import { refusalOf } from '../../fixtures/refusal.ts'
import { type ModelTensor, tempModel } from '../../fixtures/temp-model.ts'

async function compress(input: ExpertInput, raw: RawOptions = {}, deps: Partial<CompressDeps> = {}) {
  const compressed = await compressExpert(input, resolveOptions(input.kind, raw), {
    executor: inlineExecutor(),
    spool: memoryPayload(),
    ...deps,
  })
  const pieces: Uint8Array[] = []
  for await (const piece of compressed.stream()) pieces.push(piece)
  const bytes = new Uint8Array(Buffer.concat(pieces))
  return { ...compressed, bytes, container: await openContainer(memorySource(bytes)) }
}

const HEAD = 'base_model.model.classifier.weight'

/** Two modules of rank 4, as after training: A as it began, B small. */
function adapter(): ModelTensor[] {
  const modules = ['enc.0.q', 'enc.1.q'].flatMap((module, i) => [
    {
      name: `base_model.model.${module}.lora_A.weight`,
      shape: [4, 64],
      values: randomFloats(256, 10 + i).map((value) => value * 0.03),
    },
    {
      name: `base_model.model.${module}.lora_B.weight`,
      shape: [48, 4],
      values: randomFloats(192, 20 + i).map((value) => value * 0.003),
    },
  ])
  return [{ name: HEAD, shape: [3, 5], values: randomFloats(15, 30) }, ...modules]
}

async function loraInput(tensors = adapter()): Promise<ExpertInput> {
  return { kind: 'lora', source: await tempModel(tensors, { format: 'pt' }) }
}

async function trits(container: Container, name: string): Promise<Int8Array> {
  const { rows, cols, positions } = await container.readTrits(name)
  const out = new Int8Array(rows * cols)
  for (const p of positions) out[p & INDEX_MASK] = p >= SIGN_BIT ? -1 : 1
  return out
}

describe('a compressed LoRA', () => {
  test('comes back in the shapes and order of its file, the head bit for bit', async () => {
    const input = await loraInput()
    const { container } = await compress(input)
    const weights = reconstructedSource(container)
    expect(weights.tensors).toEqual(input.source.tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape })))
    expect(await weights.readBytes(HEAD)).toEqual(await input.source.readBytes(HEAD))
    expect(container.header).toMatchObject({ kind: 'lora', origin: 'zero', base: null, metadata: { format: 'pt' } })
  })

  test('keeps the norm of each product, and says so', async () => {
    const { report, warnings } = await compress(await loraInput(), { density: 0.3, scale: 'norm' })
    expect(report.product?.normRatio).toBeCloseTo(1, 2)
    expect(report.product?.cosine).toBeGreaterThan(0.5)
    expect(report.modules.map(({ module, lost }) => [module, lost])).toEqual([
      ['enc.0.q', null],
      ['enc.1.q', null],
    ])
    expect(warnings).toEqual([])
  })

  test('keeps its density in every tensor in coordinates that are not those of the effect', async () => {
    const { container } = await compress(await loraInput(), { density: 0.1, transform: 'svd', layers: 1 })
    const kept = (await trits(container, 'base_model.model.enc.0.q.lora_B.weight')).filter((trit) => trit !== 0).length
    expect(kept).toBe(20)
  })

  test('reports the file as it is', async () => {
    const { report, bytes, size } = await compress(await loraInput())
    expect(size).toBe(bytes.length)
    expect(report.bytes.total).toBe(bytes.length)
    expect(report).toMatchObject({ parameters: 911, ternaryParameters: 896, originalBytes: 3644 })
    const { table, scales, trits: coded, lossless } = report.bytes
    expect(64 + table + scales + coded + lossless).toBe(bytes.length)
    const shares = report.tensors.reduce((sum, tensor) => sum + tensor.bitsPerParameter * tensor.parameters, 0)
    expect(shares / 8).toBeCloseTo(coded, 6)
  })

  test('records the options and the adapter configuration', async () => {
    const { container } = await compress(await loraInput(), { density: 0.25, gain: 1.5 })
    expect(container.header.options).toMatchObject({ density: 0.25, gain: 1.5, transform: 'effect', scope: 'global' })
  })

  test('grows with the gain', async () => {
    const name = 'base_model.model.enc.0.q.lora_A.weight'
    const [one, two] = [await compress(await loraInput()), await compress(await loraInput(), { gain: 2 })]
    const scales = await Promise.all(
      [one, two].map(async ({ container }) => (await container.readTrits(name)).scales.values),
    )
    scales[0]!.forEach((scale, i) => {
      expect(scales[1]![i]! / scale).toBeCloseTo(2, 0)
    })
    expect(two.report.product!.normRatio / one.report.product!.normRatio).toBeCloseTo(4, 2)
  })

  test('takes two factors that lie far apart in the file', async () => {
    const [head, a0, b0, a1, b1] = adapter() as [ModelTensor, ModelTensor, ModelTensor, ModelTensor, ModelTensor]
    const straight = await compress(await loraInput())
    const shuffled = await compress(await loraInput([a1, b0, head, a0, b1]))
    for (const { name } of [a0, b0, a1, b1]) {
      expect(await trits(shuffled.container, name)).toEqual(await trits(straight.container, name))
    }
  })
})

describe('the paper on a raw LoRA', () => {
  test('warns that its modules are lost', async () => {
    const { warnings, report } = await compress(await loraInput(), { preset: 'paper' })
    expect(warnings).toMatchObject([{ code: 'FACTOR_LOST', detail: { of: 2 } }])
    expect(report.modules.map(({ lost }) => lost)).toEqual(['lora_B', 'lora_B'])
    expect(report.product).toMatchObject({ relativeError: 1, cosine: 0 })
  })

  test('is refused under strict, and nothing but the spool was written', async () => {
    const input = await loraInput()
    expect(await refusalOf(() => compress(input, { preset: 'paper', strict: true }))).toMatchObject({
      code: 'FACTOR_LOST',
      detail: {
        modules: [
          { module: 'enc.0.q', lost: 'lora_B' },
          { module: 'enc.1.q', lost: 'lora_B' },
        ],
      },
    })
  })
})

describe('a global threshold', () => {
  const values = [
    [1, 2, 2, 0],
    [2, -2, 0.5, 3],
  ] as const
  const model = (order: readonly number[]): ModelTensor[] =>
    order.map((i) => ({ name: `m${i}.ia3_l`, shape: [4], values: values[i]!.map((value) => value + 1) }))

  test('gives ties to the first name, wherever it stands in the file', async () => {
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const source = await tempModel(model(order))
      const { container } = await compress({ kind: 'ia3', source }, { density: 0.5 })
      expect([...(await trits(container, 'm0.ia3_l'))]).toEqual([0, 1, 1, 0])
      expect([...(await trits(container, 'm1.ia3_l'))]).toEqual([1, 0, 0, 1])
    }
  })

  test('has one scale: sigma, norm or mean of all tensors together', async () => {
    const source = await tempModel(model([0, 1]))
    const all: readonly number[] = values.flat()
    const mean = all.reduce((sum, value) => sum + value, 0) / 8
    const expected = {
      std: Math.sqrt(all.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 7),
      norm: Math.sqrt(all.reduce((sum, value) => sum + value * value, 0) / 4),
      mean: (2 + 2 + 2 + 3) / 4,
    }
    for (const [scale, value] of Object.entries(expected)) {
      const { container, report } = await compress({ kind: 'ia3', source }, { density: 0.5, scale })
      for (const name of ['m0.ia3_l', 'm1.ia3_l']) {
        const { scales } = await container.readTrits(name)
        expect({ scale, axis: scales.axis, value: scales.values[0] }).toEqual({
          scale,
          axis: 'tensor',
          value: Math.fround(value),
        })
      }
      expect(report.threshold).toBe(2)
      expect(report.sigma).toBeCloseTo(expected.std, 12)
    }
  })

  test('keeps all non-zeros where there are fewer than asked for, and scales by their number', async () => {
    const source = await tempModel([{ name: 'm.ia3_l', shape: [6], values: [1, 1, 3, 1, 1, 0] }])
    const { container, report } = await compress({ kind: 'ia3', source }, { density: 0.9, scale: 'mean' })
    expect([...(await trits(container, 'm.ia3_l'))]).toEqual([0, 0, 1, 0, 0, -1])
    expect((await container.readTrits('m.ia3_l')).scales.values[0]).toBe(1.5)
    expect(report).toMatchObject({ kept: 2, threshold: 0 })
  })

  test('is no obstacle to an expert that did not change at all', async () => {
    const source = await tempModel([{ name: 'm.ia3_l', shape: [4], values: [1, 1, 1, 1] }])
    const { report, container } = await compress({ kind: 'ia3', source })
    expect(report).toMatchObject({ kept: 0, relativeError: 0, cosine: 1 })
    expect([...(await reconstructedSource(container).read('m.ia3_l'))]).toEqual([1, 1, 1, 1])
  })
})

describe('a compressed full fine-tune', () => {
  const base = randomFloats(600, 1)
  const tuned = base.map((value, i) => value + 0.01 * randomFloats(600, 2)[i]!)
  const bias = { name: 'bert.dense.bias', shape: [4], values: [1, 2, 3, 4] }

  async function fullInput(): Promise<ExpertInput> {
    const source = await tempModel([{ name: 'bert.dense.weight', shape: [20, 30], values: tuned }, bias])
    const baseSource = await tempModel([
      { name: 'dense.weight', shape: [20, 30], values: base },
      { ...bias, name: 'dense.bias' },
    ])
    return {
      kind: 'full',
      source,
      base: { source: baseSource, digest: 'sha256:00', repo: 'org/base', revision: 'main' },
    }
  }

  test('comes back as the base plus scaled signs, one rounding', async () => {
    const input = await fullInput()
    const { container } = await compress(input, { density: 0.2 })
    expect(container.header.base).toEqual({ digest: 'sha256:00', repo: 'org/base', revision: 'main' })
    const weights = reconstructedSource(container, { base: input.base!.source! })
    const signs = await trits(container, 'bert.dense.weight')
    const scale = (await container.readTrits('bert.dense.weight')).scales.values[0]!
    expect(await weights.read('bert.dense.weight')).toEqual(base.map((value, i) => value + signs[i]! * scale))
    expect([...(await weights.read('bert.dense.bias'))]).toEqual([1, 2, 3, 4])
    expect(signs.filter((sign) => sign !== 0).length).toBe(120)
  })

  test('exceeds its norm by the factor 1.3 at densities up to 0.05, by 1.15 above', async () => {
    const ratios = await Promise.all(
      [0.05, 0.06].map(async (density) => (await compress(await fullInput(), { density })).report.normRatio),
    )
    expect(ratios[0]).toBeCloseTo(1.3, 5)
    expect(ratios[1]).toBeCloseTo(1.15, 5)
  })
})

describe('refusals', () => {
  test('of a NaN name the tensor and the index, in a factor and in a head', async () => {
    for (const [at, name] of [
      [1, 'base_model.model.enc.0.q.lora_A.weight'],
      [0, HEAD],
    ] as const) {
      const tensors = adapter()
      const values = Float32Array.from(tensors[at]!.values!)
      values[7] = Number.NaN
      tensors[at] = { ...tensors[at]!, values }
      const input = await loraInput(tensors)
      expect(await refusalOf(() => compress(input))).toMatchObject({
        code: 'NOT_FINITE',
        detail: { tensor: name, index: 7 },
      })
    }
  })
})

describe('compressing', () => {
  test('tells its progress, up to the last step', async () => {
    const steps: [number, number][] = []
    await compress(await loraInput(), { scope: 'global' }, { onProgress: (done, total) => steps.push([done, total]) })
    expect(steps).toEqual(Array.from({ length: 7 }, (_, i) => [i + 1, 7]))
  })

  test('stops when it is given up, with the reason', async () => {
    const controller = new AbortController()
    const work = compress(
      await loraInput(),
      {},
      { signal: controller.signal, onProgress: () => controller.abort(new Error('enough')) },
    )
    await expect(work).rejects.toThrow('enough')
  })

  test('gives the same bytes in this thread and in a pool', async () => {
    // Large enough for the pool to be used.
    const values = randomFloats(2 ** 21, 5)
    const tensors = [0, 1, 2, 3].map((i) => ({
      name: `layer.${i}.ia3_l`,
      shape: [2 ** 10, 2 ** 9],
      values: values.subarray(i * 2 ** 19, (i + 1) * 2 ** 19),
    }))
    const source = await tempModel(tensors)
    const pool = counting(workerPool(2))
    try {
      const pooled = await compress({ kind: 'ia3', source }, {}, { executor: pool })
      expect(pool.runs).toBeGreaterThan(12)
      const inline = await compress({ kind: 'ia3', source }, {}, { executor: inlineExecutor() })
      expect(pooled.bytes).toEqual(inline.bytes)
    } finally {
      await pool.close()
    }
  })

  test('leaves the pool alone for a small adapter', async () => {
    const pool = counting(inlineExecutor())
    await compress(await loraInput(), {}, { executor: pool })
    expect(pool.runs).toBe(0)
  })
})

function counting(executor: Executor): Executor & { readonly runs: number } {
  let runs = 0
  return {
    width: executor.width,
    run(name, input, signal) {
      runs++
      return executor.run(name, input, signal)
    },
    close: () => executor.close(),
    get runs() {
      return runs
    },
  }
}
