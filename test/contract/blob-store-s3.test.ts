/** The blob store contract on a real S3 server, and what is particular to S3. */
import { createHash, randomBytes } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { CreateMultipartUploadCommand, S3Client } from '@aws-sdk/client-s3'
import { afterEach, describe, expect, test } from 'vitest'
import { openStore } from '../../registry/open-store.ts'
import { blobStoreSuite } from './blob-store.suite.ts'
import { s3Endpoint, s3Required, s3Store, s3Url } from './s3-server.ts'

const bytes = new TextEncoder().encode('0123456789')

test.runIf(s3Required)('on CI there is an S3 server to test against (scripts/with-s3.sh)', () => {
  expect(s3Endpoint, 'S3_ENDPOINT is not set').toBeDefined()
})

describe.skipIf(s3Endpoint === undefined)('with the S3 server of S3_ENDPOINT', () => {
  blobStoreSuite('S3', () => s3Store())

  test('a signed URL serves the object, whole and in ranges, under the file name asked for', async () => {
    const store = await s3Store()
    await store.write('blobs/k', bytes)
    const url = (await store.signedUrl('blobs/k', 60, 'größe "x".tern')) ?? ''
    const whole = await fetch(url)
    expect(whole.status).toBe(200)
    expect(await whole.text()).toBe('0123456789')
    expect(whole.headers.get('content-disposition')).toContain("filename*=UTF-8''gr%C3%B6%C3%9Fe%20%22x%22.tern")
    const part = await fetch(url, { headers: { range: 'bytes=2-4' } })
    expect(part.status).toBe(206)
    expect(await part.text()).toBe('234')
  })

  test('a signed URL that was changed is refused', async () => {
    const store = await s3Store()
    await store.write('blobs/k', bytes)
    await store.write('blobs/secret', bytes)
    const url = (await store.signedUrl('blobs/k', 60)) ?? ''
    const response = await fetch(url.replace('/blobs/k', '/blobs/secret'))
    expect(response.status).toBe(403)
  })

  test('signed_urls=false makes no signed URL, and public_endpoint signs for another host', async () => {
    const url = s3Url()
    const off = await openStore(`${url}&signed_urls=false`)
    expect(await off.signedUrl('blobs/k', 60)).toBeUndefined()
    const elsewhere = await openStore(`${url}&public_endpoint=https%3A%2F%2Ffiles.example.org`)
    expect(await elsewhere.signedUrl('blobs/k', 60)).toMatch(/^https:\/\/files\.example\.org\//)
  })

  test('stores under its prefix and sees nothing outside it', async () => {
    const prefix = `shared-${randomBytes(8).toString('hex')}`
    const [one, two] = [await s3Store(`${prefix}/one`), await s3Store(`${prefix}/two`)]
    await one.write('k', bytes)
    expect(await two.stat('k')).toBeUndefined()
    const found = []
    for await (const stat of (await s3Store(prefix)).list('')) found.push(stat.key)
    expect(found).toEqual(['one/k'])
  })

  test('finds and aborts multipart uploads that never ended', async () => {
    const prefix = `open-${randomBytes(8).toString('hex')}`
    const store = await s3Store(prefix)
    const client = new S3Client({ endpoint: s3Endpoint ?? '', forcePathStyle: true, region: 'us-east-1' })
    const Bucket = process.env['S3_BUCKET'] ?? 'tern-test'
    await client.send(new CreateMultipartUploadCommand({ Bucket, Key: `${prefix}/blobs/half` }))
    const later = new Date(Date.now() + 60_000)
    expect(await store.unfinished(new Date(0), true)).toEqual([])
    expect(await store.unfinished(later, false)).toEqual([expect.stringMatching(/^blobs\/half \(upload /)])
    await store.unfinished(later, true)
    expect(await store.unfinished(later, false)).toEqual([])
  })

  test('a missing bucket is STORE_UNAVAILABLE, not an absent key', async () => {
    const store = await openStore(`s3://no-such-bucket?endpoint=${encodeURIComponent(s3Endpoint ?? '')}`)
    await expect(store.read('k')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })
})

describe('S3 store against a server of our own that misbehaves', () => {
  const servers: Server[] = []
  afterEach(() => {
    for (const server of servers.splice(0)) server.close()
  })

  async function storeOn(answer: Parameters<typeof createServer>[1]) {
    const server = createServer(answer as never)
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    process.env['AWS_ACCESS_KEY_ID'] ??= 'key'
    process.env['AWS_SECRET_ACCESS_KEY'] ??= 'secret'
    return openStore(`s3://bucket?endpoint=${encodeURIComponent(endpoint)}`)
  }
  const conflict = '<Error><Code>ConditionalRequestConflict</Code><Message>again</Message></Error>'

  test('an answer of 409 to a conditional write is tried again', async () => {
    let calls = 0
    const store = await storeOn((request, response) => {
      request.resume()
      request.on('end', () => {
        if (request.method === 'HEAD') response.writeHead(404).end()
        else if (++calls < 3) response.writeHead(409, { 'content-type': 'application/xml' }).end(conflict)
        else response.writeHead(200, { etag: '"done"' }).end()
      })
    })
    expect(await store.write('k', bytes, { ifAbsent: true })).toEqual({ etag: '"done"', written: true })
    expect(calls).toBe(3)
  })

  test('a body that ends before its announced length fails the stream', async () => {
    const store = await storeOn((_request, response) => {
      response.writeHead(200, { 'content-length': '10', etag: '"x"' })
      response.write('01234')
      response.socket?.end()
    })
    const stream = await store.read('k')
    const reading = (async () => {
      for await (const _ of stream);
    })()
    await expect(reading).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })

  test('an upload carries the SHA-256 of its body', async () => {
    let checksum: unknown
    const store = await storeOn((request, response) => {
      checksum = request.headers['x-amz-checksum-sha256']
      request.resume()
      request.on('end', () => response.writeHead(200, { etag: '"x"' }).end())
    })
    await store.write('k', bytes)
    expect(checksum).toBe(createHash('sha256').update(bytes).digest('base64'))
  })

  test('a server that nobody reaches is STORE_UNAVAILABLE', async () => {
    const store = await storeOn((_request, response) => void response.end())
    for (const server of servers.splice(0)) server.close()
    await expect(store.stat('k')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await expect(store.write('k', bytes)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })
})
