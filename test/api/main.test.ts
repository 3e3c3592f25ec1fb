/** The server as it runs: on a socket, over a folder, until it is told to stop. */
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { readConfig } from '../../server/config.ts'
import { type Running, serve, start } from '../../server/main.ts'
import { tempFolder } from '../contract/temp-folder.ts'
import { MULTIPART, multipart } from './harness.ts'
import { adapter } from './models.ts'

function configFor(folder: string, more: Record<string, string> = {}) {
  return readConfig({
    TERN_STORE_URL: `file:${join(folder, 'data')}`,
    TERN_PORT: '0',
    TERN_LOG_LEVEL: 'silent',
    TERN_WORKERS: '1',
    ...more,
  })
}

async function started(folder: string, more: Record<string, string> = {}): Promise<Running> {
  const running = await start(configFor(folder, more))
  onTestFinished(() => running.stop())
  return running
}

const publish = (url: string, path = '/v1/experts/acme/x/revisions') =>
  fetch(url + path, {
    method: 'POST',
    headers: { 'Content-Type': MULTIPART },
    body: new Uint8Array(multipart(adapter(1))),
  })

/** A connection that has sent so much of an upload. */
async function openUpload(url: string, path: string, headers: string[], body: Uint8Array): Promise<Socket> {
  const { port, hostname } = new URL(url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  const lines = [`POST ${path} HTTP/1.1`, 'Host: 127.0.0.1', `Content-Type: ${MULTIPART}`, ...headers]
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  socket.write(body)
  return socket
}

const uploadsIn = (folder: string) => {
  const dir = join(folder, 'data/spool/uploads')
  return existsSync(dir) ? readdirSync(dir) : []
}

describe('a running server', () => {
  test('keeps what it has acknowledged over a restart', async () => {
    const folder = await tempFolder()
    const first = await started(folder)
    const published = await publish(first.url)
    expect(published.status).toBe(201)
    const { revision, container } = (await published.json()) as { revision: string; container: { bytes: number } }
    await first.stop()
    const second = await started(folder)
    const file = await fetch(`${second.url}/v1/experts/acme/x/revisions/${revision}/expert.tern`)
    expect((await file.arrayBuffer()).byteLength).toBe(container.bytes)
  })

  test('does not share its state folder with another one', async () => {
    const folder = await tempFolder()
    await started(folder)
    await expect(start(configFor(folder))).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  test('says when its port is taken, and leaves nothing open', async () => {
    const [folder, other] = [await tempFolder(), await tempFolder()]
    const { url } = await started(folder)
    const port = new URL(url).port
    await expect(start(configFor(other, { TERN_PORT: port }))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      detail: { port: Number(port) },
    })
    await started(other)
  })

  test('refuses a bad request before it asks for the body', async () => {
    const { url } = await started(await tempFolder())
    const path = '/v1/experts/acme/x/revisions?density=7'
    const socket = await openUpload(url, path, ['Content-Length: 1000000000', 'Expect: 100-continue'], new Uint8Array())
    const [answer] = await once(socket, 'data')
    expect(String(answer)).toMatch(/^HTTP\/1\.1 400 /)
    expect(String(answer)).toContain('PARAMETER_INVALID')
    socket.destroy()
  })

  test('asks for the body of a good request', async () => {
    const { url } = await started(await tempFolder())
    const body = multipart(adapter(1))
    const headers = [`Content-Length: ${body.byteLength}`, 'Expect: 100-continue', 'Connection: close']
    const socket = await openUpload(url, '/v1/experts/acme/x/revisions', headers, new Uint8Array())
    const [go] = await once(socket, 'data')
    expect(String(go)).toBe('HTTP/1.1 100 Continue\r\n\r\n')
    socket.write(body)
    const [answer] = await once(socket, 'data')
    expect(String(answer)).toMatch(/^HTTP\/1\.1 201 /)
    socket.destroy()
  })
})

describe('stopping', () => {
  test('lets a request that runs finish', async () => {
    const folder = await tempFolder()
    const running = await started(folder)
    const body = multipart(adapter(1))
    const headers = [`Content-Length: ${body.byteLength}`]
    const socket = await openUpload(running.url, '/v1/experts/acme/x/revisions', headers, body.subarray(0, 500))
    await expect.poll(() => uploadsIn(folder).length).toBe(1)
    const stopped = running.stop()
    socket.write(body.subarray(500))
    const [answer] = await once(socket, 'data')
    expect(String(answer)).toMatch(/^HTTP\/1\.1 201 /)
    await stopped
    expect(uploadsIn(folder)).toEqual([])
  })

  test('cuts off what does not finish in time, and leaves nothing of it', async () => {
    const folder = await tempFolder()
    const running = await started(folder, { TERN_STOP_SECONDS: '0' })
    const body = multipart(adapter(1))
    const headers = [`Content-Length: ${body.byteLength}`]
    const socket = await openUpload(running.url, '/v1/experts/acme/x/revisions', headers, body.subarray(0, 500))
    socket.on('error', () => {})
    await expect.poll(() => uploadsIn(folder).length).toBe(1)
    await running.stop()
    expect(uploadsIn(folder)).toEqual([])
    const again = await started(folder)
    expect(await (await fetch(`${again.url}/v1/experts`)).json()).toEqual({ repos: [], next: null })
  })

  test('does not wait for connections on which nothing happens', async () => {
    const running = await started(await tempFolder(), { TERN_STOP_SECONDS: '600' })
    // fetch keeps its connection open for the next request.
    expect((await fetch(`${running.url}/healthz`)).status).toBe(200)
    await running.stop()
    await expect(fetch(`${running.url}/healthz`)).rejects.toThrow()
  })

  test('may be asked for twice', async () => {
    const running = await started(await tempFolder())
    await Promise.all([running.stop(), running.stop()])
    await running.stopped
  })

  test('ends serve()', async () => {
    const folder = await tempFolder()
    const abort = new AbortController()
    const done = serve(configFor(folder), abort.signal)
    await expect.poll(() => existsSync(join(folder, 'data/spool/uploads'))).toBe(true)
    abort.abort()
    await done
    await started(folder)
  })
})
