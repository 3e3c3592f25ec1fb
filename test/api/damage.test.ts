/** When the store itself is at fault: a 5xx that says so, never wrong bytes. */
import { beforeEach, describe, expect, test } from 'vitest'
import type { Digest } from '../../registry/digest.ts'
import { blobKey } from '../../registry/keys.ts'
import { silentLog } from '../../server/service/log.ts'
import { type Api, download, finishedJob, startApi, upload } from './harness.ts'
import { adapter, base, fineTune } from './models.ts'

let api: Api
let digest: Digest
const root = '/v1/experts/acme/x/revisions/main'

beforeEach(async () => {
  api = await startApi({ log: silentLog })
  const { body } = await upload(api, '/v1/experts/acme/x/revisions', adapter(1)).expect(201)
  digest = body.container.digest
})

async function damage(change: (bytes: Buffer) => Uint8Array): Promise<void> {
  const { body } = await download(api, `${root}/expert.tern`).expect(200)
  await api.services.registry.store.delete(blobKey(digest))
  await api.services.registry.store.write(blobKey(digest), change(Buffer.from(body)))
}

async function fault(path: string) {
  const { body, status, headers } = await api.request.get(path)
  return { status, code: body.error?.code, type: headers['content-type'] }
}

describe('a blob of the store', () => {
  test('that is missing is a fault of the server', async () => {
    await api.services.registry.store.delete(blobKey(digest))
    for (const path of ['expert.tern', 'files/adapter_model.safetensors', 'tensors/x']) {
      expect(await fault(`${root}/${path}`)).toMatchObject({
        status: 500,
        code: 'STORED_DAMAGED',
        type: expect.stringMatching(/json/),
      })
    }
  })

  test('with another header is never decoded', async () => {
    await damage((bytes) => bytes.fill(0xff, 0, 8))
    expect(await fault(`${root}/files/adapter_model.safetensors`)).toMatchObject({
      status: 500,
      code: 'STORED_DAMAGED',
    })
  })

  test('with a flipped bit in its trits is never decoded', async () => {
    await damage((bytes) => {
      const last = bytes.byteLength - 1
      bytes[last] = (bytes[last] ?? 0) ^ 1
      return bytes
    })
    // The head of the file needs no trits and may be on its way already: the body must not come whole.
    const whole = await download(api, `${root}/files/adapter_model.safetensors`).then(
      ({ status }) => status,
      () => 'cut',
    )
    expect(whole).not.toBe(200)
  })

  test('that a merge needs fails the job by the same code', async () => {
    await upload(api, '/v1/bases/acme/tiny/revisions', base(1)).expect(201)
    await damage((bytes) => {
      const last = bytes.byteLength - 1
      bytes[last] = (bytes[last] ?? 0) ^ 1
      return bytes
    })
    const models = [{ model: 'acme/tiny+acme/x', parameters: { weight: 1 } }]
    const recipe = { merge_method: 'task_arithmetic', base_model: 'acme/tiny', models }
    const { body } = await api.request.post('/v1/merges').send(recipe).expect(202)
    const job = await finishedJob(api, body.id)
    expect(job).toMatchObject({ state: 'failed', error: { code: 'STORED_DAMAGED' } })
    expect(await api.spooled()).toEqual([])
  })
})

describe('the base of a full fine-tune', () => {
  test('that was deleted by force is missed by its name', async () => {
    await upload(api, '/v1/bases/acme/tiny/revisions', base(1)).expect(201)
    await upload(api, '/v1/experts/acme/full/revisions?base=acme/tiny', fineTune(1, 5)).expect(201)
    await api.services.registry.deleteRepo('acme/tiny')
    const { body } = await api.request.get('/v1/experts/acme/full/revisions/main/files/model.safetensors').expect(409)
    expect(body.error).toMatchObject({ code: 'BASE_GONE', detail: { repo: 'acme/tiny' } })
    await download(api, '/v1/experts/acme/full/revisions/main/expert.tern').expect(200)
  })
})
