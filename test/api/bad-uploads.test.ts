/** What must not come in: a coded 4xx that names the culprit, and a store, an index and a spool as they were. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { beforeEach, describe, expect, test } from 'vitest'
import { type Api, MULTIPART, multipart, type Part, startApi, upload } from './harness.ts'
import {
  ADAPTER_CONFIG,
  adapter,
  adapterTensors,
  base,
  fineTune,
  json,
  type NamedTensor,
  safetensors,
} from './models.ts'

let api: Api

beforeEach(async () => {
  api = await startApi({ maxUploadBytes: 200_000 })
  await upload(api, '/v1/bases/acme/tiny/revisions', base(1)).expect(201)
})

/** The answer's error, once it is sure that nothing else is left of the upload. */
async function refused(parts: readonly Part[], status: number, query = '', repo = 'experts/acme/bad') {
  const before = await api.contents()
  const { body } = await upload(api, `/v1/${repo}/revisions${query}`, parts).expect(status)
  expect(await api.contents()).toEqual(before)
  expect(await api.spooled()).toEqual([])
  expect(body.error.message).not.toBe('')
  return body.error as { code: string; message: string; detail: Record<string, unknown> }
}

function withWeights(bytes: Uint8Array): Part[] {
  return [json('adapter_config.json', ADAPTER_CONFIG), { path: 'adapter_model.safetensors', bytes }]
}

function changed(change: (tensors: NamedTensor[]) => NamedTensor[]): Part[] {
  return withWeights(safetensors(change(adapterTensors(1))))
}

/** The adapter's file with another header text, its length kept true. */
function withHeader(change: (header: Record<string, Record<string, unknown>>) => void): Part[] {
  const bytes = Buffer.from(safetensors(adapterTensors(1)))
  const length = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString())
  change(header)
  const text = Buffer.from(JSON.stringify(header))
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(text.byteLength))
  return withWeights(Buffer.concat([size, text, bytes.subarray(8 + length)]))
}

const first = adapterTensors(1)[0]?.name ?? ''

describe('a safetensors file', () => {
  test('with a header cut off is refused', async () => {
    const error = await refused(withWeights(safetensors(adapterTensors(1)).subarray(0, 100)), 422)
    expect(error).toMatchObject({
      code: 'SAFETENSORS_INVALID',
      detail: { file: 'adapter_model.safetensors', size: 100 },
    })
  })

  test('shorter than its header length field is refused', async () => {
    const error = await refused(withWeights(Uint8Array.of(1, 2, 3)), 422)
    expect(error).toMatchObject({ code: 'SAFETENSORS_INVALID', detail: { size: 3 } })
  })

  test('whose header length lies is refused', async () => {
    const bytes = Buffer.from(safetensors(adapterTensors(1)))
    bytes.writeBigUInt64LE(bytes.readBigUInt64LE(0) - 9n)
    expect((await refused(withWeights(bytes), 422)).code).toBe('SAFETENSORS_INVALID')
  })

  test('whose header length asks for more than any header has is refused', async () => {
    const bytes = Buffer.from(safetensors(adapterTensors(1)))
    bytes.writeBigUInt64LE(2n ** 62n)
    const error = await refused(withWeights(bytes), 413)
    expect(error.code).toBe('SAFETENSORS_HEADER_TOO_LARGE')
  })

  test('cut off in its data is refused by the name of the tensor', async () => {
    const error = await refused(withWeights(safetensors(adapterTensors(1)).subarray(0, -100)), 422)
    expect(error).toMatchObject({ code: 'SAFETENSORS_INVALID', detail: { tensor: adapterTensors(1).at(-1)?.name } })
  })

  test('with offsets past its end is refused by the name of the tensor', async () => {
    const name = adapterTensors(1).at(-1)?.name ?? ''
    const error = await refused(
      withHeader((header) => {
        const { data_offsets } = header[name] as { data_offsets: number[] }
        header[name] = {
          ...header[name],
          shape: [1032, 1],
          data_offsets: [data_offsets[0], 4128 + (data_offsets[0] ?? 0)],
        }
      }),
      422,
    )
    expect(error).toMatchObject({ code: 'SAFETENSORS_INVALID', detail: { tensor: name } })
  })

  test('with a NaN is refused by tensor and index', async () => {
    const error = await refused(
      changed((tensors) => tensors.map((t, i) => (i === 3 ? { ...t, values: t.values.with(17, Number.NaN) } : t))),
      422,
    )
    expect(error).toMatchObject({ code: 'NOT_FINITE', detail: { tensor: adapterTensors(1)[3]?.name, index: 17 } })
  })

  test('with an infinite weight is refused by tensor and index', async () => {
    const error = await refused(
      changed((tensors) => tensors.map((t, i) => (i === 0 ? { ...t, values: t.values.with(0, Infinity) } : t))),
      422,
    )
    expect(error).toMatchObject({ code: 'NOT_FINITE', detail: { tensor: first, index: 0 } })
  })

  test('with an unknown dtype is refused by the name of the tensor', async () => {
    const error = await refused(
      withHeader((header) => {
        header[first] = { ...header[first], dtype: 'F33' }
      }),
      422,
    )
    expect(error).toMatchObject({ code: 'DTYPE_UNSUPPORTED', detail: { tensor: first, dtype: 'F33' } })
  })
})

describe('an adapter', () => {
  test('without its config is refused', async () => {
    const error = await refused(adapter(1).slice(1), 422)
    expect(error).toMatchObject({ code: 'FILE_MISSING', detail: { file: 'adapter_config.json' } })
  })

  test('with a config that is no JSON is refused', async () => {
    const parts = [{ path: 'adapter_config.json', bytes: Buffer.from('{') }, ...adapter(1).slice(1)]
    expect((await refused(parts, 422)).code).toBe('ADAPTER_CONFIG_INVALID')
  })

  test('with a config of another method is refused by the field', async () => {
    const parts = [json('adapter_config.json', { peft_type: 'PROMPT_TUNING' }), ...adapter(1).slice(1)]
    const error = await refused(parts, 422)
    expect(error).toMatchObject({ code: 'ADAPTER_CONFIG_INVALID', detail: { field: 'peft_type' } })
  })

  test('whose A and B do not fit is refused by both names and shapes', async () => {
    const error = await refused(
      changed((tensors) => tensors.map((t, i) => (i === 1 ? { ...t, shape: [16, 8] } : t))),
      422,
    )
    expect(error).toMatchObject({
      code: 'ADAPTER_SHAPE_MISMATCH',
      detail: { a: first, b: first.replace('lora_A', 'lora_B'), shapeA: [4, 32], shapeB: [16, 8] },
    })
  })

  test('with an A alone is refused', async () => {
    const error = await refused(
      changed((tensors) => tensors.filter((_, i) => i !== 1)),
      422,
    )
    expect(error).toMatchObject({ code: 'ADAPTER_SHAPE_MISMATCH', detail: { tensor: first } })
  })

  test('of another size than the base it names is refused by the module', async () => {
    await upload(api, '/v1/bases/acme/wide/revisions', base(1, 64)).expect(201)
    const error = await refused(adapter(1), 422, '?base=acme/wide')
    expect(error).toMatchObject({ code: 'BASE_MISMATCH', detail: { module: 'model.layers.0.self_attn.q_proj' } })
  })

  test('is no base', async () => {
    const error = await refused(adapter(1), 400, '', 'bases/acme/bad')
    expect(error).toMatchObject({ code: 'REQUEST_INVALID', detail: { field: 'files' } })
  })
})

describe('a parameter', () => {
  test.each(['density=0', 'density=1.5', 'density=abc', 'density=-0.1', 'density=NaN', 'alpha=-1', 'alpha=x'])(
    '%s is refused by its name',
    async (query) => {
      const error = await refused(adapter(1), 400, `?${query}`)
      expect(error).toMatchObject({ code: 'PARAMETER_INVALID', detail: { parameter: query.split('=')[0] } })
    },
  )

  test.each(['scope=layer', 'scale=max', 'transform=fft', 'codec=zip', 'preset=best', 'strict=maybe'])(
    '%s is refused with what is allowed',
    async (query) => {
      const error = await refused(adapter(1), 400, `?${query}`)
      expect(error).toMatchObject({ code: 'PARAMETER_INVALID', detail: { parameter: query.split('=')[0] } })
      expect(error.detail.allowed).toBeTruthy()
    },
  )

  test('that does not fit the kind found in the files is refused', async () => {
    const error = await refused(adapter(1), 400, '?kind=full&base=acme/tiny')
    expect(error).toMatchObject({ code: 'PARAMETER_INVALID', detail: { parameter: 'kind', found: 'lora' } })
  })

  test('that does not exist is refused by its name', async () => {
    const error = await refused(adapter(1), 400, '?densty=0.1')
    expect(error.code).toBe('REQUEST_INVALID')
    expect(error.message).toContain('densty')
  })

  test('of an unknown base is refused before the body is read', async () => {
    const error = await refused(adapter(1), 422, '?base=acme/nothing')
    expect(error).toMatchObject({ code: 'BASE_UNKNOWN', detail: { field: 'base', repo: 'acme/nothing' } })
  })

  test('of an unknown revision of a base is refused', async () => {
    const error = await refused(adapter(1), 422, '?base=acme/tiny@v9')
    expect(error).toMatchObject({ code: 'BASE_UNKNOWN', detail: { ref: 'v9' } })
  })

  test('of an expert as base is refused', async () => {
    await upload(api, '/v1/experts/acme/lora/revisions', adapter(1)).expect(201)
    const error = await refused(adapter(1), 400, '?base=acme/lora')
    expect(error).toMatchObject({ code: 'REQUEST_INVALID', detail: { field: 'base' } })
  })
})

describe('a full fine-tune', () => {
  test('without a base is refused', async () => {
    expect((await refused(fineTune(1, 5), 422)).code).toBe('BASE_REQUIRED')
  })

  test('of another architecture is refused by the name of a tensor', async () => {
    await upload(api, '/v1/bases/acme/wide/revisions', base(1, 64)).expect(201)
    const error = await refused(fineTune(1, 5), 422, '?base=acme/wide')
    expect(error.code).toBe('BASE_MISMATCH')
    expect(error.detail.tensor).toMatch(/^model\./)
  })

  test('in shards of which one is missing is refused by its name', async () => {
    const index = json('model.safetensors.index.json', { weight_map: { 'model.norm.weight': 'model-1.safetensors' } })
    const error = await refused([index], 422, '?base=acme/tiny')
    expect(error).toMatchObject({ code: 'FILE_MISSING', detail: { file: 'model-1.safetensors' } })
  })

  test('whose index points outside of its folder is refused', async () => {
    const index = json('model.safetensors.index.json', { weight_map: { 'model.norm.weight': '../model.safetensors' } })
    const error = await refused([index], 422, '?base=acme/tiny')
    expect(error).toMatchObject({ code: 'SAFETENSORS_INVALID', detail: { tensor: 'model.norm.weight' } })
  })
})

describe('a file name', () => {
  test.each([
    '../evil.txt',
    'a/../../evil.txt',
    '/etc/passwd',
    'a//b',
    './a',
    '.git/hooks/post-checkout',
    'a\\\\b',
    'next\u0085line',
    `${'x'.repeat(600)}`,
  ])('%j is refused', async (path) => {
    const error = await refused([...adapter(1), { path, bytes: Buffer.from('x') }], 400)
    expect(error.code).toBe('PATH_INVALID')
    expect(error.detail.path).toBeTruthy()
  })

  test('sent twice is refused', async () => {
    const error = await refused([...adapter(1), ...adapter(1)], 400)
    expect(error).toMatchObject({ code: 'PATH_DUPLICATE', detail: { file: 'adapter_config.json' } })
  })

  test('of pickled weights is refused', async () => {
    const error = await refused([...adapter(1), { path: 'optimizer.pt', bytes: Buffer.from('x') }], 422)
    expect(error).toMatchObject({ code: 'FILE_REFUSED', detail: { file: 'optimizer.pt' } })
  })

  test('that Tern uses itself is refused', async () => {
    const error = await refused([...adapter(1), { path: 'expert.tern', bytes: Buffer.from('x') }], 422)
    expect(error).toMatchObject({ code: 'FILE_REFUSED', detail: { file: 'expert.tern' } })
  })

  test('that is a file and a folder at once is refused', async () => {
    const error = await refused(
      [...adapter(1), { path: 'a', bytes: Buffer.from('x') }, { path: 'a/b', bytes: Buffer.from('x') }],
      400,
    )
    expect(error.code).toBe('PATH_INVALID')
  })
})

describe('a body', () => {
  const path = '/v1/experts/acme/bad/revisions'

  async function refusedBody(send: () => PromiseLike<{ status: number; body: { error: { code: string } } }>) {
    const before = await api.contents()
    const { status, body } = await send()
    expect(await api.contents()).toEqual(before)
    expect(await api.spooled()).toEqual([])
    return { status, code: body.error.code }
  }

  test('cut off half way is refused', async () => {
    const whole = multipart(adapter(1))
    const half = whole.subarray(0, whole.byteLength / 2)
    const outcome = await refusedBody(() => api.request.post(path).set('Content-Type', MULTIPART).send(half))
    expect(outcome).toEqual({ status: 400, code: 'UPLOAD_INCOMPLETE' })
  })

  test('whose connection breaks half way leaves nothing', async () => {
    const before = await api.contents()
    const server = createServer(api.app).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const whole = multipart(adapter(1))
    const { port } = server.address() as AddressInfo
    const socket = connect(port, '127.0.0.1')
    socket.write(
      `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: ${MULTIPART}\r\nContent-Length: ${whole.byteLength}\r\n\r\n`,
    )
    const received = once(server, 'request')
    socket.write(whole.subarray(0, whole.byteLength / 2))
    const [request] = await received
    await expect.poll(() => api.spools.live).toBe(1)
    socket.destroy()
    await new Promise((resolve) => request.once('close', resolve))
    await api.spools.idle()
    expect(await api.contents()).toEqual(before)
    expect(await api.spooled()).toEqual([])
    await new Promise((resolve) => server.close(resolve))
  })

  test('over the limit is refused by its announced length', async () => {
    const large = [...adapter(1), { path: 'notes.txt', bytes: Buffer.alloc(200_000) }]
    const error = await refused(large, 413)
    expect(error).toMatchObject({ code: 'TOO_LARGE', detail: { limit: 200_000 } })
  })

  test('over the limit is refused while it arrives when its length is not announced', async () => {
    const before = await api.contents()
    const server = createServer(api.app).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const body = multipart([...adapter(1), { path: 'notes.txt', bytes: Buffer.alloc(400_000) }])
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method: 'POST',
      headers: { 'Content-Type': MULTIPART },
      body: new ReadableStream({
        start(controller) {
          for (let at = 0; at < body.byteLength; at += 10_000) controller.enqueue(body.subarray(at, at + 10_000))
          controller.close()
        },
      }),
      duplex: 'half',
    } as RequestInit)
    expect(response.status).toBe(413)
    expect(await response.json()).toMatchObject({ error: { code: 'TOO_LARGE', detail: { limit: 200_000 } } })
    await api.spools.idle()
    expect(await api.contents()).toEqual(before)
    expect(await api.spooled()).toEqual([])
    await new Promise((resolve) => server.close(resolve))
  })

  test('with too many parts is refused', async () => {
    const many = Array.from({ length: 1001 }, (_, i) => ({ path: `notes/${i}.txt`, bytes: Buffer.from('x') }))
    expect((await refused(many, 413)).code).toBe('TOO_LARGE')
  })

  test('with a part that has no filename is refused', async () => {
    const text = multipart([])
      .toString()
      .replace('--\r\n', '\r\nContent-Disposition: form-data; name="density"\r\n\r\n0.1\r\n')
    const body = Buffer.concat([Buffer.from(text), multipart([])])
    const outcome = await refusedBody(() => api.request.post(path).set('Content-Type', MULTIPART).send(body))
    expect(outcome).toEqual({ status: 400, code: 'REQUEST_INVALID' })
  })

  test('without parts is refused', async () => {
    const outcome = await refusedBody(() => api.request.post(path).set('Content-Type', MULTIPART).send(multipart([])))
    expect(outcome).toEqual({ status: 422, code: 'FILE_MISSING' })
  })

  test('of another type is refused', async () => {
    const outcome = await refusedBody(() => api.request.post(path).set('Content-Type', 'application/json').send('{}'))
    expect(outcome).toEqual({ status: 415, code: 'MEDIA_TYPE_UNSUPPORTED' })
  })

  test('with a broken part header is refused', async () => {
    const parts = multipart([{ path: 'bell\u0007', bytes: Buffer.from('x') }])
    const outcome = await refusedBody(() => api.request.post(path).set('Content-Type', MULTIPART).send(parts))
    expect(outcome).toEqual({ status: 400, code: 'REQUEST_INVALID' })
  })

  test('without a boundary is refused', async () => {
    const outcome = await refusedBody(() => api.request.post(path).set('Content-Type', 'multipart/form-data').send('x'))
    expect(outcome).toEqual({ status: 400, code: 'REQUEST_INVALID' })
  })
})

describe('a repo', () => {
  test('name that is not well formed is refused', async () => {
    const error = await refused(adapter(1), 400, '', 'experts/acme/..bad')
    expect(error.code).toBe('NAME_INVALID')
  })

  test('of a base takes no expert', async () => {
    const error = await refused(adapter(1), 409, '', 'experts/acme/tiny')
    expect(error.code).toBe('REPO_CONFLICT')
  })

  test('does not take a branch that reads like a revision', async () => {
    const error = await refused(adapter(1), 400, `?branch=${'a'.repeat(40)}`)
    expect(error.code).toBe('NAME_INVALID')
  })
})
