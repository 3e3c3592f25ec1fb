import { expect, test } from 'vitest'
import type { BlobStore } from '../../registry/blob-store.ts'
import { MemoryBlobStore } from '../../registry/blob-store-memory.ts'
import { openIndex } from '../../registry/open-index.ts'
import { Registry } from '../../registry/registry.ts'
import { download, startApi, upload } from './harness.ts'
import { adapter } from './models.ts'

/** A store that can hand out URLs, as S3 does. */
function signingStore(): BlobStore {
  const memory = new MemoryBlobStore()
  return {
    stat: (key) => memory.stat(key),
    read: (key, range, signal) => memory.read(key, range, signal),
    write: (key, body, condition) => memory.write(key, body, condition),
    delete: (key) => memory.delete(key),
    list: (prefix) => memory.list(prefix),
    unfinished: () => memory.unfinished(),
    signedUrl: async (key, _ttlSeconds, fileName) => `https://store.example/${key}?name=${fileName}`,
  }
}

const LARGE = { path: 'notes/large.txt', bytes: Buffer.alloc(2 ** 20 + 1, 'x') }
const root = '/v1/experts/acme/x/revisions/main/files'

async function withLargeFile(redirectDownloads: boolean) {
  const registry = new Registry({ store: signingStore(), index: await openIndex('sqlite::memory:') })
  const api = await startApi({ registry, redirectDownloads })
  await upload(api, '/v1/experts/acme/x/revisions', [...adapter(1), LARGE]).expect(201)
  return api
}

test('a large stored file is answered by a signed URL of the store', async () => {
  const api = await withLargeFile(true)
  const { headers } = await api.request.get(`${root}/notes/large.txt`).redirects(0).expect(302)
  expect(headers.location).toMatch(/^https:\/\/store\.example\/blobs\/sha256\/.*name=large\.txt$/)
  expect(headers['cache-control']).toBe('no-store')
  expect(headers['x-repo-commit']).toMatch(/^[0-9a-f]{40}$/)
})

test('a client that has the file is not sent there', async () => {
  const api = await withLargeFile(true)
  const { headers } = await api.request.get(`${root}/notes/large.txt`).redirects(0).expect(302)
  await api.request
    .get(`${root}/notes/large.txt`)
    .set('If-None-Match', headers.etag ?? '')
    .expect(304)
})

test('HEAD, small files and reconstructed weights are answered by the server', async () => {
  const api = await withLargeFile(true)
  const head = await api.request.head(`${root}/notes/large.txt`).expect(200)
  expect(head.headers['content-length']).toBe(String(LARGE.bytes.byteLength))
  await api.request.get(`${root}/adapter_config.json`).redirects(0).expect(200)
  await api.request.get(`${root}/adapter_model.safetensors`).redirects(0).expect(200)
})

test('with redirects switched off the server sends the file itself', async () => {
  const api = await withLargeFile(false)
  const { body } = await download(api, `${root}/notes/large.txt`).expect(200)
  expect(body.byteLength).toBe(LARGE.bytes.byteLength)
})
