import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import type { RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { download } from '../../../cli/download.ts'
import { type LocalServer, startServer } from './local-server.ts'

const BYTES = Uint8Array.from({ length: 300_000 }, (_, index) => (index * 31) ^ (index >> 8))
const DIGEST = `sha256:${createHash('sha256').update(BYTES).digest('hex')}`

let folder = ''
let server: LocalServer | undefined
let requests: { range: string | undefined; ifRange: string | undefined; token: string | undefined }[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tern-download-'))
  requests = []
})
afterEach(async () => {
  await server?.close()
  server = undefined
  await rm(folder, { recursive: true })
})

interface Behaviour {
  bytes?: Uint8Array
  etag?: string
  /** Closes the connection after so many bytes of each of the first `cuts` answers. */
  cutAfter?: number
  cuts?: number
}

function serveBytes(behaviour: Behaviour = {}): RequestListener {
  const { bytes = BYTES, etag = `"${DIGEST}"`, cutAfter = 0, cuts = 0 } = behaviour
  let answers = 0
  return (request, response) => {
    answers += 1
    const range = request.headers.range
    const ifRange = request.headers['if-range']
    requests.push({ range, ifRange: String(ifRange), token: request.headers.authorization })
    const start = range && (ifRange === undefined || ifRange === etag) ? Number(/\d+/.exec(range)?.[0]) : 0
    if (start >= bytes.byteLength) {
      response.writeHead(416, { 'content-range': `bytes */${bytes.byteLength}` })
      response.end(JSON.stringify({ error: { code: 'RANGE_INVALID', message: 'beyond the end', detail: {} } }))
      return
    }
    response.writeHead(start > 0 ? 206 : 200, { etag, 'content-length': bytes.byteLength - start })
    if (answers > cuts) response.end(bytes.subarray(start))
    else response.write(bytes.subarray(start, start + cutAfter), () => response.socket?.end())
  }
}

test('writes the bytes under their name and leaves no part behind', async () => {
  server = await startServer(serveBytes())
  const to = join(folder, 'sub/file.bin')
  const done = await download(server.target, { from: '/x', to, digest: DIGEST })
  expect(done).toEqual({ bytes: BYTES.byteLength, resumedAt: 0, digest: DIGEST })
  expect(Buffer.compare(await readFile(to), BYTES)).toBe(0)
  expect(existsSync(`${to}.part`)).toBe(false)
})

test('takes up a cut connection where it broke, on condition of the same version', async () => {
  server = await startServer(serveBytes({ cutAfter: 100_000, cuts: 2 }))
  const to = join(folder, 'file.bin')
  await download(server.target, { from: '/x', to, digest: DIGEST })
  expect(requests.map(({ range }) => range)).toEqual([undefined, 'bytes=100000-', 'bytes=200000-'])
  expect(requests[1]?.ifRange).toBe(`"${DIGEST}"`)
  expect(Buffer.compare(await readFile(to), BYTES)).toBe(0)
})

test('takes up what an earlier run left', async () => {
  server = await startServer(serveBytes())
  const to = join(folder, 'file.bin')
  await writeFile(`${to}.part`, BYTES.subarray(0, 250_000))
  const done = await download(server.target, { from: '/x', to, digest: DIGEST })
  expect(done.resumedAt).toBe(250_000)
  expect(requests).toHaveLength(1)
  expect(requests[0]?.range).toBe('bytes=250000-')
})

test('finishes when an earlier run had already brought every byte', async () => {
  server = await startServer(serveBytes())
  const to = join(folder, 'file.bin')
  await writeFile(`${to}.part`, BYTES)
  await download(server.target, { from: '/x', to, digest: DIGEST })
  expect(Buffer.compare(await readFile(to), BYTES)).toBe(0)
})

test('starts over when what an earlier run left is of another version', async () => {
  server = await startServer(serveBytes())
  const to = join(folder, 'file.bin')
  await writeFile(`${to}.part`, new Uint8Array(5000))
  await download(server.target, { from: '/x', to, digest: DIGEST })
  expect(Buffer.compare(await readFile(to), BYTES)).toBe(0)
})

test('refuses bytes that do not have the promised digest and keeps no file', async () => {
  server = await startServer(serveBytes({ bytes: BYTES.slice(1) }))
  const to = join(folder, 'file.bin')
  await expect(download(server.target, { from: '/x', to, digest: DIGEST })).rejects.toMatchObject({
    code: 'DOWNLOAD_CORRUPT',
  })
  expect(existsSync(to)).toBe(false)
  expect(existsSync(`${to}.part`)).toBe(false)
})

test('gives up on a connection that keeps breaking, and keeps what came for the next run', async () => {
  server = await startServer(serveBytes({ cutAfter: 1000, cuts: 100 }))
  const to = join(folder, 'file.bin')
  await expect(download(server.target, { from: '/x', to, digest: DIGEST })).rejects.toMatchObject({
    code: 'SERVER_UNREACHABLE',
  })
  expect((await readFile(`${to}.part`)).byteLength).toBe(5000)
})

test('follows a redirect to another origin without the token and without our ETag', async () => {
  const store = await startServer(serveBytes())
  server = await startServer((_, response) => {
    response.writeHead(302, { location: `${store.target.url}/signed?key=1` }).end()
  })
  const to = join(folder, 'file.bin')
  await writeFile(`${to}.part`, BYTES.subarray(0, 10))
  await download(server.target, { from: '/x', to, digest: DIGEST })
  await store.close()
  expect(requests).toEqual([{ range: 'bytes=10-', ifRange: 'undefined', token: undefined }])
  expect(Buffer.compare(await readFile(to), BYTES)).toBe(0)
})

test('reports progress up to the whole size', async () => {
  server = await startServer(serveBytes())
  let last = [0, 0]
  const onProgress = (done: number, total: number) => {
    last = [done, total]
  }
  await download(server.target, { from: '/x', to: join(folder, 'file.bin'), digest: DIGEST, onProgress })
  expect(last).toEqual([BYTES.byteLength, BYTES.byteLength])
})

test('does not trust an earlier part when no digest is known', async () => {
  server = await startServer(serveBytes())
  const to = join(folder, 'file.bin')
  await writeFile(`${to}.part`, BYTES.subarray(0, 10))
  const done = await download(server.target, { from: '/x', to })
  expect(done.resumedAt).toBe(0)
  expect(requests[0]?.range).toBeUndefined()
})
