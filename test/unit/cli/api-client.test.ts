import { afterEach, describe, expect, test } from 'vitest'
import { apiJson, apiTarget } from '../../../cli/api-client.ts'
import { type LocalServer, startServer } from './local-server.ts'

let server: LocalServer | undefined
afterEach(async () => {
  await server?.close()
  server = undefined
})

describe('apiTarget', () => {
  const { signal } = new AbortController()

  test('drops the slash at the end of a server URL', () => {
    expect(apiTarget('http://host:1/prefix/', undefined, signal).url).toBe('http://host:1/prefix')
  })

  test.each(['', 'host:8420', 'ftp://host', 'not a url'])('refuses %j as a server URL', (url) => {
    expect(() => apiTarget(url, undefined, signal)).toThrow(expect.objectContaining({ code: 'USAGE_INVALID' }))
  })
})

describe('apiJson', () => {
  test('sends the token as a bearer token', async () => {
    server = await startServer((request, response) => {
      response.end(JSON.stringify({ seen: request.headers.authorization }))
    })
    expect((await apiJson(server.target, '/')).body).toEqual({ seen: 'Bearer secret-token' })
  })

  test('turns an error body into an error with its code, message and detail', async () => {
    server = await startServer((_, response) => {
      response.statusCode = 404
      response.end(JSON.stringify({ error: { code: 'REPO_NOT_FOUND', message: 'no a/b', detail: { repo: 'a/b' } } }))
    })
    await expect(apiJson(server.target, '/')).rejects.toMatchObject({
      code: 'REPO_NOT_FOUND',
      message: 'no a/b',
      detail: { repo: 'a/b' },
      status: 404,
    })
  })

  test('says so when an answer is not in the form of Tern', async () => {
    server = await startServer((_, response) => {
      response.statusCode = 502
      response.end('<html>Bad Gateway</html>')
    })
    await expect(apiJson(server.target, '/')).rejects.toMatchObject({ code: 'SERVER_ANSWER_INVALID', status: 502 })
  })

  test('asks again while the server is busy', async () => {
    let calls = 0
    server = await startServer((_, response) => {
      calls += 1
      response.statusCode = calls < 3 ? 503 : 200
      response.setHeader('Retry-After', '0')
      response.end(calls < 3 ? '' : '{"ok":true}')
    })
    expect((await apiJson(server.target, '/')).body).toEqual({ ok: true })
    expect(calls).toBe(3)
  })

  test('gives up on a server that stays busy, with its own error', async () => {
    let calls = 0
    server = await startServer((_, response) => {
      calls += 1
      response.statusCode = 503
      response.setHeader('Retry-After', '0')
      response.end(JSON.stringify({ error: { code: 'BUSY', message: 'later', detail: {} } }))
    })
    await expect(apiJson(server.target, '/')).rejects.toMatchObject({ code: 'BUSY' })
    expect(calls).toBe(5)
  })

  test('says which server cannot be reached, and why', async () => {
    server = await startServer(() => {})
    const { target } = server
    await server.close()
    server = undefined
    await expect(apiJson(target, '/')).rejects.toMatchObject({
      code: 'SERVER_UNREACHABLE',
      message: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED/),
    })
  })
})
