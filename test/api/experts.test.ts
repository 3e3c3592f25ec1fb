import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { openContainer } from '../../compress/container-reader.ts'
import { memorySource } from '../../tensors/byte-source.ts'
import { download, startApi, upload } from './harness.ts'
import { adapter, base, fineTune, json } from './models.ts'

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

async function withExpert(query = '') {
  const api = await startApi()
  const { body } = await upload(api, `/v1/experts/acme/summary/revisions${query}`, [
    ...adapter(1),
    { path: 'README.md', bytes: Buffer.from('# Summary\n') },
  ]).expect(201)
  return { api, published: body, root: `/v1/experts/acme/summary/revisions/${body.revision}` }
}

describe('uploading an adapter', () => {
  test('answers with revision, container and report', async () => {
    const { published } = await withExpert('?density=0.2')
    expect(published).toMatchObject({ repo: 'acme/summary', kind: 'lora', base: null, options: { density: 0.2 } })
    expect(published.revision).toMatch(/^[0-9a-f]{40}$/)
    expect(published.container.bytes).toBeLessThan(published.original_bytes)
    expect(published.ratio).toBeCloseTo(published.original_bytes / published.container.bytes, 6)
    expect(published.report.tensors).toHaveLength(6)
    expect(published.report).toHaveProperty('ternary_bits_per_parameter')
  })

  test('leaves nothing in the spool', async () => {
    const { api } = await withExpert()
    expect(await api.spooled()).toEqual([])
  })

  test('stores the container and the other files, not the weights', async () => {
    const { api, root } = await withExpert()
    const { body } = await api.request.get(root).expect(200)
    expect(body.files.map((file: { path: string }) => file.path)).toEqual([
      'README.md',
      'adapter_config.json',
      'expert.tern',
    ])
    expect(body.derived.map((file: { path: string }) => file.path)).toEqual(['adapter_model.safetensors'])
  })

  test('with retain=original keeps the weights as they came', async () => {
    const { api, root } = await withExpert('?retain=original')
    const { body } = await download(api, `${root}/files/original/adapter_model.safetensors`).expect(200)
    expect(Buffer.compare(body, Buffer.from(adapter(1)[1]?.bytes ?? []))).toBe(0)
  })

  test('twice gives one revision', async () => {
    const { api, published } = await withExpert()
    const again = await upload(api, '/v1/experts/acme/summary/revisions', [
      ...adapter(1),
      { path: 'README.md', bytes: Buffer.from('# Summary\n') },
    ]).expect(201)
    expect(again.body.revision).toBe(published.revision)
  })

  test('warns when a setting loses a factor, and refuses it under strict', async () => {
    const api = await startApi()
    // A with large values and B with tiny ones: a global threshold over both keeps nothing of B.
    const parts = adapter(1)
    const lopsided = [parts[0], { path: 'adapter_model.safetensors', bytes: shrinkB(parts[1]?.bytes) }] as typeof parts
    const query = '?preset=paper&density=0.05'
    const { body } = await upload(api, `/v1/experts/acme/lost/revisions${query}`, lopsided).expect(201)
    expect(body.warnings).toMatchObject([{ code: 'FACTOR_LOST' }])
    const refused = await upload(api, `/v1/experts/acme/lost2/revisions${query}&strict=1`, lopsided).expect(422)
    expect(refused.body.error.code).toBe('FACTOR_LOST')
  })

  test('takes a base that fits and records which weights it has', async () => {
    const api = await startApi()
    const published = await upload(api, '/v1/bases/acme/tiny/revisions', base(1)).expect(201)
    const { body } = await upload(api, '/v1/experts/acme/summary/revisions?base=acme/tiny', adapter(1)).expect(201)
    expect(body.base).toEqual({
      repo: 'acme/tiny',
      revision: published.body.revision,
      weights_digest: published.body.weights_digest,
    })
  })

  test('publishes to a branch and sets a tag', async () => {
    const { api, published } = await withExpert('?branch=dev&tag=v1.0')
    const { body } = await api.request.get('/v1/experts/acme/summary').expect(200)
    expect(body.branches).toMatchObject([{ name: 'dev', revision: published.revision }])
    expect(body.tags).toMatchObject([{ name: 'v1.0', revision: published.revision }])
  })
})

function shrinkB(file: Uint8Array | undefined): Uint8Array {
  const bytes = Buffer.from(file ?? [])
  const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))).toString())
  const start = 8 + Number(bytes.readBigUInt64LE(0))
  for (const [name, { data_offsets }] of Object.entries<{ data_offsets: [number, number] }>(header)) {
    if (!name.includes('lora_B')) continue
    for (let at = start + data_offsets[0]; at < start + data_offsets[1]; at += 4) {
      bytes.writeFloatLE(bytes.readFloatLE(at) * 1e-4, at)
    }
  }
  return bytes
}

describe('the first layers of a compressed expert', () => {
  const path = '/v1/experts/acme/summary/revisions/main/expert.tern'

  test('are a container of their own, in ranges too', async () => {
    const { api } = await withExpert()
    const { body: whole } = await download(api, path).expect(200)
    const { body: first } = await download(api, `${path}?layers=1`).expect(200)
    expect(first.length).toBeLessThan(whole.length)
    const container = await openContainer(memorySource(new Uint8Array(first)))
    await container.verify()
    expect(container.layers).toEqual([9])
    for (const [start, end] of [
      [0, 99],
      [50, first.length - 1],
      [first.length - 5, first.length - 1],
    ]) {
      const { body } = await download(api, `${path}?layers=1`).set('Range', `bytes=${start}-${end}`).expect(206)
      expect(Buffer.compare(body, first.subarray(start, Number(end) + 1))).toBe(0)
    }
  })

  test('have a tag of their own, unless they are all there are', async () => {
    const { api } = await withExpert()
    const tags = await Promise.all(
      ['', '?layers=1', '?layers=2', '?layers=3'].map(
        async (query) => (await api.request.head(path + query)).headers.etag,
      ),
    )
    expect(new Set(tags.slice(0, 3)).size).toBe(3)
  })

  test.each([
    ['0', 'REQUEST_INVALID'],
    ['4', 'PARAMETER_INVALID'],
    ['1.5', 'REQUEST_INVALID'],
    ['all', 'REQUEST_INVALID'],
  ])('cannot be %s of 3', async (layers, code) => {
    const { api } = await withExpert()
    const { body } = await api.request.get(`${path}?layers=${layers}`).expect(400)
    expect(body.error.code).toBe(code)
  })
})

describe('uploading a full fine-tune', () => {
  test('stores the difference to its base and gives whole weights back', async () => {
    const api = await startApi()
    await upload(api, '/v1/bases/acme/tiny/revisions', base(1)).expect(201)
    const published = await upload(api, '/v1/experts/acme/tuned/revisions?base=acme/tiny', fineTune(1, 5)).expect(201)
    expect(published.body).toMatchObject({ kind: 'full', base: { repo: 'acme/tiny' } })
    const root = `/v1/experts/acme/tuned/revisions/${published.body.revision}`
    const revision = await api.request.get(root).expect(200)
    const [weights] = revision.body.derived
    const { body } = await download(api, `${root}/files/model.safetensors`).expect(200)
    expect(digestOf(body)).toBe(weights.digest)
    expect(body.byteLength).toBe(weights.size)
  })

  test('needs its base to be read, so the base cannot be deleted', async () => {
    const api = await startApi()
    await upload(api, '/v1/bases/acme/tiny/revisions', base(1)).expect(201)
    await upload(api, '/v1/experts/acme/tuned/revisions?base=acme/tiny', fineTune(1, 5)).expect(201)
    const { body } = await api.request.delete('/v1/bases/acme/tiny').expect(409)
    expect(body.error).toMatchObject({ code: 'IN_USE', detail: { experts: ['acme/tuned'] } })
  })

  test('in shards is the same expert as in one file', async () => {
    const api = await startApi()
    await upload(api, '/v1/bases/acme/tiny/revisions', base(1)).expect(201)
    const whole = await upload(api, '/v1/experts/acme/one/revisions?base=acme/tiny', fineTune(1, 5)).expect(201)
    const sharded = await upload(api, '/v1/experts/acme/two/revisions?base=acme/tiny', shards()).expect(201)
    expect(sharded.body.report.kept).toBe(whole.body.report.kept)
    const paths = (await api.request.get('/v1/experts/acme/two/revisions/main').expect(200)).body.files
    expect(paths.map((file: { path: string }) => file.path)).toEqual(['config.json', 'expert.tern'])
  })
})

function shards() {
  const [config, weights] = fineTune(1, 5)
  const bytes = Buffer.from(weights?.bytes ?? [])
  const length = Number(bytes.readBigUInt64LE(0))
  const { __metadata__, ...tensors } = JSON.parse(bytes.subarray(8, 8 + length).toString())
  const entries = Object.entries<{ dtype: string; shape: number[]; data_offsets: [number, number] }>(tensors)
  const files = [entries.slice(0, 2), entries.slice(2)].map((list, i) => {
    const first = list[0]?.[1].data_offsets[0] ?? 0
    const header: Record<string, unknown> = { __metadata__ }
    for (const [name, info] of list) {
      header[name] = { ...info, data_offsets: info.data_offsets.map((offset) => offset - first) }
    }
    const text = Buffer.from(JSON.stringify(header))
    const size = Buffer.alloc(8)
    size.writeBigUInt64LE(BigInt(text.byteLength))
    const end = list.at(-1)?.[1].data_offsets[1] ?? 0
    const data = bytes.subarray(8 + length + first, 8 + length + end)
    return { path: `model-0000${i + 1}-of-00002.safetensors`, bytes: Buffer.concat([size, text, data]) }
  })
  const map = files.flatMap(({ path }, i) =>
    (i === 0 ? entries.slice(0, 2) : entries.slice(2)).map(([name]) => [name, path]),
  )
  const index = json('model.safetensors.index.json', { metadata: {}, weight_map: Object.fromEntries(map) })
  return [config ?? json('config.json', {}), ...files, index]
}

describe('repos of experts', () => {
  test('are listed and searched page by page', async () => {
    const api = await startApi()
    for (const name of ['alpha', 'beta', 'gamma']) {
      await upload(api, `/v1/experts/acme/${name}/revisions`, adapter(1)).expect(201)
    }
    const first = await api.request.get('/v1/experts?limit=2').expect(200)
    expect(first.body.repos.map((repo: { repo: string }) => repo.repo)).toEqual(['acme/alpha', 'acme/beta'])
    const second = await api.request.get(`/v1/experts?limit=2&cursor=${first.body.next}`).expect(200)
    expect(second.body).toMatchObject({ repos: [{ repo: 'acme/gamma', kind: 'lora' }], next: null })
    const found = await api.request.get('/v1/experts?search=BET').expect(200)
    expect(found.body.repos).toMatchObject([{ repo: 'acme/beta' }])
  })

  test('are filtered by base and kind', async () => {
    const api = await startApi()
    await upload(api, '/v1/bases/acme/tiny/revisions', base(1)).expect(201)
    await upload(api, '/v1/experts/acme/lora/revisions?base=acme/tiny', adapter(1)).expect(201)
    await upload(api, '/v1/experts/acme/full/revisions?base=acme/tiny', fineTune(1, 5)).expect(201)
    await upload(api, '/v1/experts/acme/other/revisions', adapter(2)).expect(201)
    const byBase = await api.request.get('/v1/experts?base=acme/tiny').expect(200)
    expect(byBase.body.repos.map((repo: { repo: string }) => repo.repo)).toEqual(['acme/full', 'acme/lora'])
    const byKind = await api.request.get('/v1/experts?kind=full').expect(200)
    expect(byKind.body.repos).toMatchObject([{ repo: 'acme/full', base: 'acme/tiny' }])
  })

  test('refuse a cursor that is not theirs', async () => {
    const api = await startApi()
    const { body } = await api.request.get('/v1/experts?cursor=nonsense').expect(400)
    expect(body.error.code).toBe('CURSOR_INVALID')
  })

  test('show branches, tags and history', async () => {
    const { api, published } = await withExpert()
    const next = await upload(api, '/v1/experts/acme/summary/revisions', adapter(2)).expect(201)
    const { body } = await api.request.get('/v1/experts/acme/summary').expect(200)
    expect(body.branches).toMatchObject([{ name: 'main', revision: next.body.revision }])
    expect(body.revisions).toMatchObject([
      { revision: next.body.revision, parent: published.revision },
      { revision: published.revision, parent: null },
    ])
  })

  test('take tags, move them and let them go', async () => {
    const { api, published } = await withExpert()
    const tag = '/v1/experts/acme/summary/tags/stable'
    await api.request.put(tag).send({ revision: published.revision }).expect(200)
    const next = await upload(api, '/v1/experts/acme/summary/revisions', adapter(2)).expect(201)
    const moved = await api.request.put(tag).send({ revision: 'main' }).expect(200)
    expect(moved.body.revision).toBe(next.body.revision)
    await api.request.get('/v1/experts/acme/summary/revisions/stable').expect(200)
    await api.request.delete(tag).expect(204)
    const { body } = await api.request.get('/v1/experts/acme/summary/revisions/stable').expect(404)
    expect(body.error.code).toBe('REVISION_NOT_FOUND')
  })

  test('refuse a tag on a revision they do not have', async () => {
    const { api } = await withExpert()
    const { body } = await api.request
      .put('/v1/experts/acme/summary/tags/x')
      .send({ revision: 'f'.repeat(40) })
      .expect(404)
    expect(body.error.code).toBe('REVISION_NOT_FOUND')
  })

  test('are gone once deleted', async () => {
    const { api } = await withExpert()
    await api.request.delete('/v1/experts/acme/summary').expect(204)
    const { body } = await api.request.get('/v1/experts/acme/summary').expect(404)
    expect(body.error.code).toBe('REPO_NOT_FOUND')
    expect((await api.request.get('/v1/experts').expect(200)).body.repos).toEqual([])
  })

  test('are not found under the path of bases', async () => {
    const { api } = await withExpert()
    for (const path of ['', '/revisions/main', '/revisions/main/files/README.md']) {
      const { body } = await api.request.get(`/v1/bases/acme/summary${path}`).expect(404)
      expect(body.error.code).toBe('REPO_NOT_FOUND')
    }
  })
})
