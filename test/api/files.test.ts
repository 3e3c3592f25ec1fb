import { createHash } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { openContainer } from '../../compress/container-reader.ts'
import { reconstructedSource } from '../../compress/reconstruct.ts'
import { memorySource } from '../../tensors/byte-source.ts'
import { openSafetensors } from '../../tensors/safetensors-reader.ts'
import { type Api, download, startApi, upload } from './harness.ts'
import { adapter, base, baseTensors } from './models.ts'

const digestOf = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

let api: Api
let revision: string
let root: string
let container: { digest: string; bytes: number }

beforeEach(async () => {
  api = await startApi()
  const { body } = await upload(api, '/v1/experts/acme/summary/revisions?density=0.3', adapter(1)).expect(201)
  revision = body.revision
  container = body.container
  root = `/v1/experts/acme/summary/revisions/${revision}`
})

async function derived(): Promise<{ path: string; digest: string; size: number }> {
  return (await api.request.get(root).expect(200)).body.derived[0]
}

describe('the compressed expert', () => {
  test('comes whole, with its digest as tag and its exact length', async () => {
    const { body, headers } = await download(api, `${root}/expert.tern`).expect(200)
    expect(digestOf(body)).toBe(container.digest)
    expect(headers).toMatchObject({
      etag: `"${container.digest}"`,
      'content-length': String(container.bytes),
      'accept-ranges': 'bytes',
      'x-repo-commit': revision,
      'content-type': 'application/vnd.tern.container.v1',
    })
  })

  test('reconstructs by itself to what the server reconstructs', async () => {
    const file = await download(api, `${root}/expert.tern`).expect(200)
    const own = reconstructedSource(await openContainer(memorySource(file.body)))
    const weights = await download(api, `${root}/files/adapter_model.safetensors`).expect(200)
    const served = await openSafetensors(memorySource(weights.body))
    expect(served.tensors.map(({ name }) => name)).toEqual(own.tensors.map(({ name }) => name))
    for (const { name } of own.tensors) expect(await served.read(name)).toEqual(await own.read(name))
  })

  test.each([
    ['bytes=0-9', 0, 10],
    ['bytes=100-', 100, undefined],
    ['bytes=-7', -7, undefined],
    ['bytes=5-1000000000', 5, undefined],
  ])('comes in part for %s', async (range, start, end) => {
    const whole = await download(api, `${root}/expert.tern`).expect(200)
    const { body, headers } = await download(api, `${root}/expert.tern`).set('Range', range).expect(206)
    expect(body).toEqual(whole.body.subarray(start, end))
    expect(headers['content-range']).toMatch(new RegExp(`^bytes \\d+-\\d+/${container.bytes}$`))
    expect(headers['content-length']).toBe(String(body.byteLength))
  })

  test('answers a range behind its end with its size', async () => {
    const { headers, body } = await api.request
      .get(`${root}/expert.tern`)
      .set('Range', `bytes=${container.bytes}-`)
      .expect(416)
    expect(headers['content-range']).toBe(`bytes */${container.bytes}`)
    expect(body.error.code).toBe('RANGE_INVALID')
  })

  test('ignores ranges it does not serve', async () => {
    for (const range of ['bytes=0-1,4-5', 'lines=0-1', 'bytes=9-3', 'bytes=-']) {
      await download(api, `${root}/expert.tern`).set('Range', range).expect(200)
    }
  })

  test('comes whole when If-Range names another tag', async () => {
    const request = () => download(api, `${root}/expert.tern`).set('Range', 'bytes=0-9')
    await request().set('If-Range', '"other"').expect(200)
    await request().set('If-Range', `"${container.digest}"`).expect(206)
  })

  test('is not sent again to a client that has it', async () => {
    const tag = `"${container.digest}"`
    for (const value of [tag, `W/${tag}`, `"x", ${tag}`, '*']) {
      const { headers, text } = await api.request.get(`${root}/expert.tern`).set('If-None-Match', value).expect(304)
      expect(headers.etag).toBe(tag)
      expect(text).toBe('')
    }
    await download(api, `${root}/expert.tern`).set('If-None-Match', '"other"').expect(200)
  })

  test('may be kept for ever under a revision, and is asked for again under a branch', async () => {
    const byRevision = await api.request.head(`${root}/expert.tern`).expect(200)
    expect(byRevision.headers['cache-control']).toMatch(/immutable/)
    const byBranch = await api.request.head('/v1/experts/acme/summary/revisions/main/expert.tern').expect(200)
    expect(byBranch.headers['cache-control']).toBe('public, no-cache')
    expect(byBranch.headers['x-repo-commit']).toBe(revision)
  })
})

describe('reconstructed weights', () => {
  test('have the digest and size that the revision promised', async () => {
    const { path, digest, size } = await derived()
    const { body, headers } = await download(api, `${root}/files/${path}`).expect(200)
    expect(digestOf(body)).toBe(digest)
    expect(headers).toMatchObject({ etag: `"${digest}"`, 'content-length': String(size) })
  })

  test('answer HEAD as GET does, without a body', async () => {
    const { digest, size } = await derived()
    const { headers, text } = await api.request.head(`${root}/files/adapter_model.safetensors`).expect(200)
    expect(headers).toMatchObject({ etag: `"${digest}"`, 'content-length': String(size) })
    expect(text).toBeUndefined()
  })

  test('come in parts that join to the whole', async () => {
    const { size } = await derived()
    const url = `${root}/files/adapter_model.safetensors`
    const whole = await download(api, url).expect(200)
    const cuts = [0, 5, 8, 700, 1234, size - 1, size]
    const parts: Buffer[] = []
    for (const [i, start] of cuts.slice(0, -1).entries()) {
      const end = (cuts[i + 1] ?? 0) - 1
      parts.push((await download(api, url).set('Range', `bytes=${start}-${end}`).expect(206)).body)
    }
    expect(Buffer.concat(parts)).toEqual(whole.body)
  })

  test('come in another dtype under a tag of its own', async () => {
    const { digest, size } = await derived()
    const { body, headers } = await download(api, `${root}/files/adapter_model.safetensors?dtype=bfloat16`).expect(200)
    const file = await openSafetensors(memorySource(body))
    expect(new Set(file.tensors.map(({ dtype }) => dtype))).toEqual(new Set(['BF16']))
    expect(headers.etag).not.toBe(`"${digest}"`)
    expect(body.byteLength).toBeLessThan(size)
    expect(headers['content-length']).toBe(String(body.byteLength))
  })

  test('come scaled by a gain under a tag of its own', async () => {
    const url = `${root}/files/adapter_model.safetensors`
    const plain = await openSafetensors(memorySource((await download(api, url).expect(200)).body))
    const scaled = await download(api, `${url}?gain=2`).expect(200)
    const doubled = await openSafetensors(memorySource(scaled.body))
    const name = plain.tensors[0]?.name ?? ''
    expect(await doubled.read(name)).toEqual((await plain.read(name)).map((value) => value * 2))
    const other = await api.request.head(`${url}?gain=3`).expect(200)
    expect(new Set([scaled.headers.etag, other.headers.etag, `"${(await derived()).digest}"`]).size).toBe(3)
  })

  test('have the gain they were published with', async () => {
    await upload(api, '/v1/experts/acme/loud/revisions?density=0.3&gain=2', adapter(1)).expect(201)
    const loud = await download(api, '/v1/experts/acme/loud/revisions/main/files/adapter_model.safetensors').expect(200)
    const twice = await download(api, `${root}/files/adapter_model.safetensors?gain=2`).expect(200)
    expect(loud.body).toEqual(twice.body)
  })

  test.each(['dtype=int8', 'gain=0', 'gain=abc', 'gain=-1', 'gain=1e9'])('refuse ?%s', async (query) => {
    const { body } = await api.request.get(`${root}/files/adapter_model.safetensors?${query}`).expect(400)
    expect(body.error).toMatchObject({ code: 'PARAMETER_INVALID', detail: { parameter: query.split('=')[0] } })
  })
})

describe('other files', () => {
  test('come as they were stored', async () => {
    const { body, headers } = await download(api, `${root}/files/adapter_config.json`).expect(200)
    expect(JSON.parse(body.toString())).toMatchObject({ peft_type: 'LORA' })
    expect(headers['content-type']).toMatch(/^application\/json/)
  })

  test('are saved by browsers, never run', async () => {
    const { headers } = await api.request.get(`${root}/files/adapter_config.json`).expect(200)
    expect(headers['content-disposition']).toMatch(/^attachment/)
    expect(headers['content-security-policy']).toContain('sandbox')
    expect(headers['x-content-type-options']).toBe('nosniff')
  })

  test('have no variants', async () => {
    const { body } = await api.request.get(`${root}/files/expert.tern?dtype=float32`).expect(400)
    expect(body.error.code).toBe('PARAMETER_INVALID')
  })

  test('that are not there are not found', async () => {
    const { body } = await api.request.get(`${root}/files/nothing.txt`).expect(404)
    expect(body.error).toMatchObject({ code: 'ENTRY_NOT_FOUND', detail: { path: 'nothing.txt' } })
  })
})

describe('single tensors', () => {
  test('come as a safetensors file of one tensor', async () => {
    const weights = await download(api, `${root}/files/adapter_model.safetensors`).expect(200)
    const file = await openSafetensors(memorySource(weights.body))
    const name = file.tensors[2]?.name ?? ''
    const { body } = await download(api, `${root}/tensors/${name}`).expect(200)
    const single = await openSafetensors(memorySource(body))
    expect(single.tensors.map((tensor) => tensor.name)).toEqual([name])
    expect(await single.readBytes(name)).toEqual(await file.readBytes(name))
  })

  test('come from a base too', async () => {
    await upload(api, '/v1/bases/acme/tiny/revisions', base(1)).expect(201)
    const { body } = await download(api, '/v1/bases/acme/tiny/revisions/main/tensors/model.norm.weight').expect(200)
    const file = await openSafetensors(memorySource(body))
    expect(await file.read('model.norm.weight')).toEqual(baseTensors(1).at(-1)?.values)
  })

  test('that are not there are not found', async () => {
    const { body } = await api.request.get(`${root}/tensors/no.such.tensor`).expect(404)
    expect(body.error).toMatchObject({ code: 'TENSOR_NOT_FOUND', detail: { tensor: 'no.such.tensor' } })
  })
})
