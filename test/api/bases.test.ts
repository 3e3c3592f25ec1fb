import { describe, expect, test } from 'vitest'
import { download, startApi, upload } from './harness.ts'
import { base, baseTensors, safetensors } from './models.ts'

describe('publishing a base', () => {
  test('answers with the digest of its weights', async () => {
    const api = await startApi()
    const { body, headers } = await upload(api, '/v1/bases/acme/tiny/revisions', base(1)).expect(201)
    expect(body).toMatchObject({ repo: 'acme/tiny', parameters: 16 * 32 + 3 * 32 * 32 + 32, dtype: 'F32' })
    expect(headers.location).toBe(`/v1/bases/acme/tiny/revisions/${body.revision}`)
    expect(await api.spooled()).toEqual([])
  })

  test('stores the files as they came', async () => {
    const api = await startApi()
    await upload(api, '/v1/bases/acme/tiny/revisions', base(1)).expect(201)
    const { body } = await download(api, '/v1/bases/acme/tiny/revisions/main/files/model.safetensors').expect(200)
    expect(Buffer.compare(body, Buffer.from(base(1)[1]?.bytes ?? []))).toBe(0)
  })

  test('gives one weights digest whatever the order of the tensors', async () => {
    const api = await startApi()
    const first = await upload(api, '/v1/bases/acme/one/revisions', base(1)).expect(201)
    const reversed = [{ path: 'model.safetensors', bytes: safetensors(baseTensors(1).toReversed()) }]
    const second = await upload(api, '/v1/bases/acme/two/revisions', reversed).expect(201)
    expect(second.body.weights_digest).toBe(first.body.weights_digest)
  })

  test('takes weights under another name where they are the only ones', async () => {
    const api = await startApi()
    const parts = [{ path: 'weights.safetensors', bytes: safetensors(baseTensors(1)) }]
    await upload(api, '/v1/bases/acme/tiny/revisions', parts).expect(201)
    await download(api, '/v1/bases/acme/tiny/revisions/main/tensors/model.norm.weight').expect(200)
  })

  test('shows its revision with the weights', async () => {
    const api = await startApi()
    const published = await upload(api, '/v1/bases/acme/tiny/revisions', base(1)).expect(201)
    const { body } = await api.request.get('/v1/bases/acme/tiny/revisions/main').expect(200)
    expect(body).toMatchObject({
      type: 'base',
      revision: published.body.revision,
      weights_digest: published.body.weights_digest,
      derived: [],
    })
  })

  test('lists bases apart from experts', async () => {
    const api = await startApi()
    await upload(api, '/v1/bases/acme/tiny/revisions', base(1)).expect(201)
    const bases = await api.request.get('/v1/bases').expect(200)
    expect(bases.body).toMatchObject({ repos: [{ repo: 'acme/tiny', type: 'base', kind: null }], next: null })
    expect((await api.request.get('/v1/experts').expect(200)).body.repos).toEqual([])
  })

  test('can be deleted while no expert needs it', async () => {
    const api = await startApi()
    await upload(api, '/v1/bases/acme/tiny/revisions', base(1)).expect(201)
    await api.request.delete('/v1/bases/acme/tiny').expect(204)
    await api.request.get('/v1/bases/acme/tiny').expect(404)
  })
})
