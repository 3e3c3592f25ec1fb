import { createHash } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { ServerError } from '../../server/service/errors.ts'
import { memorySource } from '../../tensors/byte-source.ts'
import { openSafetensors } from '../../tensors/safetensors-reader.ts'
import { type Api, download, finishedJob, startApi, upload } from './harness.ts'
import { adapter, base, fineTune, ia3Adapter } from './models.ts'

const digestOf = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

let api: Api

beforeEach(async () => {
  api = await startApi()
  await upload(api, '/v1/bases/acme/tiny/revisions', base(1)).expect(201)
  await upload(api, '/v1/experts/acme/one/revisions?base=acme/tiny&density=0.5', adapter(1)).expect(201)
  await upload(api, '/v1/experts/acme/two/revisions?base=acme/tiny&density=0.5', adapter(2)).expect(201)
  await upload(api, '/v1/experts/acme/full/revisions?base=acme/tiny&density=0.5', fineTune(1, 5)).expect(201)
})

const CAT = {
  merge_method: 'cat',
  models: [
    { model: 'acme/one', parameters: { weight: 0.5 } },
    { model: 'acme/two', parameters: { weight: 0.5 } },
  ],
}

const TIES = {
  merge_method: 'ties',
  base_model: 'acme/tiny',
  models: [
    { model: 'acme/tiny+acme/one', parameters: { weight: 0.5, density: 0.5 } },
    { model: 'acme/full', parameters: { weight: 0.5, density: 0.5 } },
  ],
  dtype: 'float32',
}

async function merged(recipe: object) {
  const { body } = await api.request.post('/v1/merges').send(recipe).expect(202)
  await finishedJob(api, body.id)
  return (await api.request.get(`/v1/jobs/${body.id}`).expect(200)).body
}

describe('a merge as a job', () => {
  test('of adapters gives an adapter with its config', async () => {
    const job = await merged(CAT)
    expect(job).toMatchObject({ state: 'succeeded', error: null, request: { merge_method: 'cat' } })
    expect(job.progress.done).toBe(job.progress.total)
    const paths = job.result.files.map((file: { path: string }) => file.path)
    expect(paths).toEqual(['adapter_model.safetensors', 'mergekit_config.yml', 'adapter_config.json'])
    const config = await download(api, `/v1/jobs/${job.id}/files/adapter_config.json`).expect(200)
    expect(JSON.parse(config.body.toString())).toMatchObject({ peft_type: 'LORA', r: 8, lora_alpha: 8 })
  })

  test('of differences gives a model with the config of its base', async () => {
    const job = await merged(TIES)
    expect(job.state).toBe('succeeded')
    const paths = job.result.files.map((file: { path: string }) => file.path)
    expect(paths).toEqual(['model.safetensors', 'mergekit_config.yml', 'config.json'])
    const { body } = await download(api, `/v1/jobs/${job.id}/files/model.safetensors`).expect(200)
    expect(digestOf(body)).toBe(job.result.files[0].digest)
    const file = await openSafetensors(memorySource(body))
    expect(file.tensors).toHaveLength(5)
  })

  test('gives files that can be fetched in parts', async () => {
    const job = await merged(CAT)
    const url = `/v1/jobs/${job.id}/files/adapter_model.safetensors`
    const whole = await download(api, url).expect(200)
    const part = await download(api, url).set('Range', 'bytes=8-99').expect(206)
    expect(part.body).toEqual(whole.body.subarray(8, 100))
    const { etag } = whole.headers
    await api.request
      .get(url)
      .set('If-None-Match', etag ?? '')
      .expect(304)
  })

  test('is not done twice', async () => {
    const job = await merged(CAT)
    const { body } = await api.request.post('/v1/merges').send(CAT).expect(202)
    expect(body).toEqual(job)
  })

  test('leaves nothing in the spool', async () => {
    await merged(TIES)
    expect(await api.spooled()).toEqual([])
  })

  test('takes mergekit YAML as it is', async () => {
    const yaml = [
      'merge_method: task_arithmetic',
      'base_model: acme/tiny',
      'models:',
      '  - model: acme/full',
      '    parameters:',
      '      weight: 0.4',
      'dtype: float32',
    ].join('\n')
    const { body } = await api.request.post('/v1/merges').set('Content-Type', 'application/yaml').send(yaml).expect(202)
    const job = await finishedJob(api, body.id)
    expect(job).toMatchObject({ state: 'succeeded', error: null })
    const kept = await download(api, `/v1/jobs/${body.id}/files/mergekit_config.yml`).expect(200)
    expect(kept.body.toString()).toBe(yaml)
  })

  test('has no files before it has succeeded', async () => {
    const failing = api.services.jobs.submit({
      key: 'k',
      request: {},
      run: () => Promise.reject(new ServerError('BUSY', 'no')),
    })
    await finishedJob(api, failing.id)
    const { body } = await api.request.get(`/v1/jobs/${failing.id}/files/model.safetensors`).expect(409)
    expect(body.error.code).toBe('JOB_NOT_READY')
  })

  test('has no file of another name', async () => {
    const job = await merged(CAT)
    const { body } = await api.request.get(`/v1/jobs/${job.id}/files/model.safetensors`).expect(404)
    expect(body.error.code).toBe('ENTRY_NOT_FOUND')
  })

  test('keeps to the revisions it was planned with', async () => {
    let release = () => {}
    const held = new Promise<Record<string, unknown>>((resolve) => {
      release = () => resolve({})
    })
    const blocker = api.services.jobs.submit({ key: 'block', request: {}, run: () => held })
    const { body } = await api.request.post('/v1/merges').send(CAT).expect(202)
    expect(body.state).toBe('queued')
    await upload(api, '/v1/experts/acme/one/revisions?density=0.5', adapter(9)).expect(201)
    release()
    await finishedJob(api, blocker.id)
    await finishedJob(api, body.id)
    const { body: job } = await api.request.get(`/v1/jobs/${body.id}`).expect(200)
    expect(job.state).toBe('succeeded')
    const other = await merged(CAT)
    expect(other.id).not.toBe(job.id)
    expect(other.result.files[0].digest).not.toBe(job.result.files[0].digest)
  })
})

describe('a merge as a stream', () => {
  test('is the file that the job makes, with its exact length', async () => {
    const job = await merged(TIES)
    const { body, headers } = await api.request
      .post('/v1/merges?stream=1')
      .send(TIES)
      .buffer(true)
      .parse((response, done) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => done(null, Buffer.concat(chunks)))
      })
      .expect(200)
    expect(digestOf(body)).toBe(job.result.files[0].digest)
    expect(headers['content-length']).toBe(String(body.byteLength))
    expect(headers['x-tern-plan']).toBe(job.request.plan)
  })
})

describe('publishing a merge', () => {
  test('makes a base of a model', async () => {
    const job = await merged({ ...TIES, output: { publish: 'acme/merged', tag: 'v1' } })
    expect(job).toMatchObject({ state: 'succeeded', result: { published: { repo: 'acme/merged' } } })
    const { body } = await api.request.get('/v1/bases/acme/merged/revisions/v1').expect(200)
    expect(body.revision).toBe(job.result.published.revision)
    expect(body.files.map((file: { path: string }) => file.path)).toEqual([
      'config.json',
      'mergekit_config.yml',
      'model.safetensors',
    ])
  })

  test('makes an expert of an adapter', async () => {
    const job = await merged({ ...CAT, output: { publish: 'acme/both' } })
    expect(job).toMatchObject({ state: 'succeeded', result: { published: { repo: 'acme/both' } } })
    const { body } = await api.request.get('/v1/experts/acme/both/revisions/main').expect(200)
    expect(body).toMatchObject({ kind: 'lora', revision: job.result.published.revision })
  })

  test('makes an expert of a model where it is asked to', async () => {
    const job = await merged({ ...TIES, output: { kind: 'expert', publish: 'acme/merged-expert' } })
    expect(job).toMatchObject({ state: 'succeeded', error: null })
    const { body } = await api.request.get('/v1/experts/acme/merged-expert/revisions/main').expect(200)
    expect(body).toMatchObject({ kind: 'full', base: { repo: 'acme/tiny' } })
  })

  test('under the name of a repo of another type is refused at once', async () => {
    const { body } = await api.request
      .post('/v1/merges')
      .send({ ...CAT, output: { publish: 'acme/tiny' } })
      .expect(409)
    expect(body.error).toMatchObject({ code: 'REPO_CONFLICT', detail: { repo: 'acme/tiny' } })
  })

  test('under a name that is not well formed is refused at once', async () => {
    const { body } = await api.request
      .post('/v1/merges')
      .send({ ...CAT, output: { publish: 'nonsense' } })
      .expect(400)
    expect(body.error.code).toBe('NAME_INVALID')
  })
})

describe('a recipe', () => {
  async function refused(recipe: object, status: number) {
    const before = await api.contents()
    const { body } = await api.request.post('/v1/merges').send(recipe).expect(status)
    expect(await api.contents()).toEqual(before)
    expect(await api.spooled()).toEqual([])
    return body.error as { code: string; message: string; detail: Record<string, unknown> }
  }

  test('with an unknown method is refused by its name', async () => {
    const error = await refused({ ...CAT, merge_method: 'magic' }, 422)
    expect(error).toMatchObject({ code: 'MERGE_METHOD_UNKNOWN', detail: { method: 'magic' } })
  })

  test('with a missing weight is refused by the key', async () => {
    const error = await refused({ ...TIES, models: [{ model: 'acme/full' }] }, 422)
    expect(error.code).toBe('RECIPE_INVALID')
    expect(error.message).toContain('weight')
  })

  test('with an expert of another base is refused', async () => {
    await upload(api, '/v1/bases/acme/other/revisions', base(2)).expect(201)
    const error = await refused({ ...TIES, base_model: 'acme/other', models: [TIES.models[1]] }, 422)
    expect(error).toMatchObject({ code: 'BASE_DIFFERS', detail: { input: 'acme/full', base: 'acme/other' } })
  })

  test('with an input that does not exist is refused by its name', async () => {
    const models = [{ model: 'acme/none', parameters: { weight: 1 } }]
    const error = await refused({ ...TIES, models }, 422)
    expect(error).toMatchObject({ code: 'MERGE_INPUT_NOT_FOUND', detail: { ref: 'acme/none' } })
  })

  test.each(['/etc/passwd', './models', '../x/y', 'C:\\models'])('with the path %j is refused', async (model) => {
    const error = await refused({ ...TIES, models: [{ model, parameters: { weight: 1 } }] }, 422)
    expect(error.code).toBe('MERGE_INPUT_NOT_FOUND')
  })

  test('with an (IA)3 expert is refused', async () => {
    await upload(api, '/v1/experts/acme/ia3/revisions', ia3Adapter(1)).expect(201)
    const error = await refused({ ...CAT, models: [{ model: 'acme/ia3', parameters: { weight: 1 } }] }, 422)
    expect(error.code).toBe('MERGE_UNSUPPORTED')
  })

  test('that is no JSON is refused', async () => {
    const { body } = await api.request.post('/v1/merges').set('Content-Type', 'application/json').send('{').expect(422)
    expect(body.error.code).toBe('RECIPE_INVALID')
  })

  test('of another type is refused', async () => {
    const { body } = await api.request.post('/v1/merges').set('Content-Type', 'text/plain').send('x').expect(415)
    expect(body.error.code).toBe('MEDIA_TYPE_UNSUPPORTED')
  })

  test('of more than a mebibyte is refused', async () => {
    const text = `merge_method: cat\n# ${'x'.repeat(2 ** 20)}\n`
    const { body } = await api.request.post('/v1/merges').set('Content-Type', 'application/yaml').send(text).expect(413)
    expect(body.error.code).toBe('TOO_LARGE')
  })
})
