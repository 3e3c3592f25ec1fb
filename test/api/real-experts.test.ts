/** The three jobs on real experts: what comes back from the service is, trit for trit, what the Python recipe gives. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openContainer } from '../../compress/container-reader.ts'
import { SIGN_BIT } from '../../compress/quantized-tensor.ts'
import { memorySource } from '../../tensors/byte-source.ts'
import { compareNames } from '../../tensors/compare-names.ts'
import { openSafetensors } from '../../tensors/safetensors-reader.ts'
import { elementCount } from '../../tensors/tensor.ts'
import { fixturesDir } from '../fixtures/fixtures-dir.ts'
import { type Api, download, finishedJob, type Part, startApi, upload } from './harness.ts'

const dir = fixturesDir() ?? ''
const LIMIT = { maxUploadBytes: 2 ** 30 }
const TIMEOUT = 120_000

function folder(name: string): Part[] {
  return readdirSync(join(dir, name))
    .filter((file) => /^(?:adapter_model|partial|model)\.safetensors$|config\.json$/.test(file))
    .map((path) => ({ path, bytes: readFileSync(join(dir, name, path)) }))
}

/** sha256 over one signed byte per entry, tensors in the order of their names. */
async function tritsDigest(file: Uint8Array): Promise<string> {
  const container = await openContainer(memorySource(file))
  const names = container.tensors
    .filter(({ storage }) => storage === 'trits')
    .sort((a, b) => compareNames(a.name, b.name))
  const hash = createHash('sha256')
  for (const { name, shape } of names) {
    const trits = new Int8Array(elementCount(shape))
    const { positions } = await container.readTrits(name)
    for (const position of positions) trits[position & ~SIGN_BIT] = position & SIGN_BIT ? -1 : 1
    hash.update(trits)
  }
  return hash.digest('hex')
}

/** Uploads by the paper's rule and gives back the container as it is fetched. */
async function pushed(api: Api, parts: Part[], query: string): Promise<Buffer> {
  const url = '/v1/experts/real/expert/revisions'
  const { body } = await upload(api, `${url}?preset=paper&${query}`, parts).expect(201)
  const file = await download(api, `${url}/${body.revision}/expert.tern`).expect(200)
  const { body: revision } = await api.request.get(`${url}/${body.revision}`).expect(200)
  const [weights] = revision.derived
  const whole = await download(api, `${url}/${body.revision}/files/${weights.path}`).expect(200)
  expect(`sha256:${createHash('sha256').update(whole.body).digest('hex')}`).toBe(weights.digest)
  return file.body
}

function golden() {
  return JSON.parse(readFileSync(new URL('../parity/golden/compeft/fixtures.json', import.meta.url), 'utf8'))
}

describe.skipIf(dir === '')('a real expert that is uploaded and fetched', () => {
  const index = () => JSON.parse(readFileSync(join(dir, 'golden/compeft/index.json'), 'utf8'))

  test.each([0.05, 0.2])('as LoRA at density %d has the trits of the recipe', { timeout: TIMEOUT }, async (density) => {
    const api = await startApi(LIMIT)
    const file = await pushed(api, folder('lora/debsection'), `density=${density}`)
    const { sha256_ternary_int8 } = index().cases.find(({ k }: { k: number }) => k === density)
    expect(await tritsDigest(file)).toBe(sha256_ternary_int8)
  })

  test('as LoRA of a decoder in bf16 has the trits of the recipe', { timeout: TIMEOUT }, async () => {
    const api = await startApi(LIMIT)
    const file = await pushed(api, folder('lora-smollm2/debsection'), 'density=0.1&scope=tensor')
    const found = golden()['lora-smollm2/debsection'].cases.find((c: { density: number }) => c.density === 0.1)
    expect(await tritsDigest(file)).toBe(found.sha256_tensor)
  })

  test('as full fine-tune has the trits of the recipe', { timeout: TIMEOUT }, async () => {
    const api = await startApi(LIMIT)
    await upload(api, '/v1/bases/real/minilm/revisions', folder('base-minilm')).expect(201)
    const file = await pushed(api, folder('full/debsection'), 'density=0.05&base=real/minilm')
    const found = golden()['full/debsection'].cases.find((c: { density: number }) => c.density === 0.05)
    expect(await tritsDigest(file)).toBe(found.sha256_global)
  })
})

describe.skipIf(dir === '')('real experts that are merged', () => {
  test('give the base with the weighted sum of their updates', { timeout: TIMEOUT }, async () => {
    const api = await startApi(LIMIT)
    await upload(api, '/v1/bases/real/minilm/revisions', folder('base-minilm')).expect(201)
    for (const name of ['debsection', 'wnnoun']) {
      const query = '?base=real/minilm&density=0.2'
      await upload(api, `/v1/experts/real/${name}/revisions${query}`, folder(`lora/${name}`)).expect(201)
    }
    const models = ['debsection', 'wnnoun'].map((name) => ({
      model: `real/minilm+real/${name}`,
      parameters: { weight: 0.4 },
    }))
    const recipe = { merge_method: 'task_arithmetic', base_model: 'real/minilm', models, dtype: 'float32' }
    const { body } = await api.request.post('/v1/merges').send(recipe).expect(202)
    expect(await finishedJob(api, body.id)).toMatchObject({ state: 'succeeded', error: null })
    const merged = await opened(api, `/v1/jobs/${body.id}/files/model.safetensors`)
    const base = await opened(api, '/v1/bases/real/minilm/revisions/main/files/model.safetensors')
    const name = 'encoder.layer.0.attention.self.query.weight'
    const expected = await base.read(name)
    for (const expert of ['debsection', 'wnnoun']) {
      const weights = await opened(api, `/v1/experts/real/${expert}/revisions/main/files/adapter_model.safetensors`)
      const a = await weights.read('base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight')
      const b = await weights.read('base_model.model.bert.encoder.layer.0.attention.self.query.lora_B.weight')
      addProduct(expected, a, b, 16, 0.4 * 2)
    }
    const found = await merged.read(name)
    expect(maxDifference(found, expected)).toBeLessThan(1e-5)
  })
})

async function opened(api: Api, path: string) {
  return openSafetensors(memorySource((await download(api, path).expect(200)).body))
}

/** out += factor * b.a, summed in f64. */
function addProduct(out: Float32Array, a: Float32Array, b: Float32Array, rank: number, factor: number): void {
  const columns = a.length / rank
  for (let row = 0; row < b.length / rank; row++) {
    for (let column = 0; column < columns; column++) {
      let sum = 0
      for (let k = 0; k < rank; k++) sum += (b[row * rank + k] ?? 0) * (a[k * columns + column] ?? 0)
      out[row * columns + column] = (out[row * columns + column] ?? 0) + factor * sum
    }
  }
}

function maxDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length)
  return a.reduce((max, value, i) => Math.max(max, Math.abs(value - (b[i] ?? Number.NaN))), 0)
}
