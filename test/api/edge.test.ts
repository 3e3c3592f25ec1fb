/** What holds for every call: who may call, ids, unknown paths, operations. */

import supertest from 'supertest'
import { describe, expect, test } from 'vitest'
import { createApp } from '../../server/http/app.ts'
import type { Log } from '../../server/service/log.ts'
import { startApi, upload } from './harness.ts'
import { adapter } from './models.ts'

const TOKEN = 'a-token-of-enough-length'

describe('with a token', () => {
  test('calls without it are refused', async () => {
    const api = await startApi({ adminToken: TOKEN })
    for (const path of ['/v1/experts', '/v1/jobs/x', '/metrics', '/nothing']) {
      const { body, headers } = await api.request.get(path).expect(401)
      expect(body.error.code).toBe('UNAUTHENTICATED')
      expect(headers['www-authenticate']).toMatch(/^Bearer/)
    }
  })

  test('calls with a wrong one are refused', async () => {
    const api = await startApi({ adminToken: TOKEN })
    for (const value of ['Bearer wrong', `Basic ${TOKEN}`, `Bearer ${TOKEN}x`]) {
      await api.request.get('/v1/experts').set('Authorization', value).expect(401)
    }
  })

  test('calls with it are answered, by any host name', async () => {
    const api = await startApi({ adminToken: TOKEN })
    await api.request.get('/v1/experts').set('Authorization', `Bearer ${TOKEN}`).set('Host', 'tern.example').expect(200)
  })

  test('an upload is refused before its body is read', async () => {
    const api = await startApi({ adminToken: TOKEN })
    await upload(api, '/v1/experts/acme/x/revisions', adapter(1)).expect(401)
    expect(await api.spooled()).toEqual([])
  })

  test('files are kept by the client alone', async () => {
    const api = await startApi({ adminToken: TOKEN })
    const auth = (request: ReturnType<typeof api.request.get>) => request.set('Authorization', `Bearer ${TOKEN}`)
    const { body } = await auth(upload(api, '/v1/experts/acme/x/revisions', adapter(1))).expect(201)
    const { headers } = await auth(
      api.request.head(`/v1/experts/acme/x/revisions/${body.revision}/expert.tern`),
    ).expect(200)
    expect(headers['cache-control']).toMatch(/^private/)
  })

  test('health and documentation stay open', async () => {
    const api = await startApi({ adminToken: TOKEN })
    for (const path of ['/healthz', '/readyz', '/openapi.json', '/docs']) await api.request.get(path).expect(200)
  })
})

describe('without a token', () => {
  test('calls by another name than loopback are refused', async () => {
    const api = await startApi()
    for (const host of ['tern.example', 'evil.example:8420', '127.0.0.1.evil.example']) {
      const { body } = await api.request.get('/v1/experts').set('Host', host).expect(403)
      expect(body.error).toMatchObject({ code: 'FORBIDDEN', detail: { host } })
    }
  })

  test('calls by loopback names are answered', async () => {
    const api = await startApi()
    for (const host of ['localhost', 'localhost:8420', '127.0.0.1:8420', '[::1]:8420']) {
      await api.request.get('/v1/experts').set('Host', host).expect(200)
    }
  })

  test('pages of another site are refused', async () => {
    const api = await startApi()
    const { body } = await upload(api, '/v1/experts/acme/x/revisions', adapter(1))
      .set('Origin', 'https://evil.example')
      .expect(403)
    expect(body.error.code).toBe('FORBIDDEN')
    expect((await api.contents()).repos).toEqual([])
  })
})

describe('every answer', () => {
  test('has a request id of its own', async () => {
    const api = await startApi()
    const first = await api.request.get('/healthz').expect(200)
    const second = await api.request.get('/healthz').expect(200)
    expect(first.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
    expect(second.headers['x-request-id']).not.toBe(first.headers['x-request-id'])
  })

  test('repeats the id a client gives, if it is harmless', async () => {
    const api = await startApi()
    const kept = await api.request.get('/healthz').set('X-Request-Id', 'build-17.3').expect(200)
    expect(kept.headers['x-request-id']).toBe('build-17.3')
    const replaced = await api.request.get('/healthz').set('X-Request-Id', 'a b{"x":1}').expect(200)
    expect(replaced.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
  })

  test('says nothing of its server', async () => {
    const api = await startApi()
    const { headers } = await api.request.get('/healthz').expect(200)
    expect(headers).not.toHaveProperty('x-powered-by')
  })
})

describe('a path', () => {
  test('that is no call is not found', async () => {
    const api = await startApi()
    const { body } = await api.request.get('/v2/experts').expect(404)
    expect(body.error.code).toBe('ROUTE_NOT_FOUND')
  })

  test('with another method names the methods it has', async () => {
    const api = await startApi()
    const { body, headers } = await api.request.put('/v1/experts/acme/x').expect(405)
    expect(body.error.code).toBe('METHOD_NOT_ALLOWED')
    expect(headers.allow).toBe('GET, HEAD, DELETE')
  })

  test('with a broken escape is refused', async () => {
    const api = await startApi()
    const { body } = await api.request.get('/v1/experts/acme/%zz').expect(400)
    expect(body.error.code).toBe('REQUEST_INVALID')
  })

  test('with a query field that does not exist is refused by its name', async () => {
    const api = await startApi()
    const { body } = await api.request.get('/v1/experts?limt=3').expect(400)
    expect(body.error).toMatchObject({ code: 'REQUEST_INVALID' })
    expect(body.error.message).toContain('limt')
  })

  test('with a limit out of range is refused by its field', async () => {
    const api = await startApi()
    const { body } = await api.request.get('/v1/experts?limit=0').expect(400)
    expect(body.error.detail.fields).toMatchObject([{ field: 'query.limit' }])
  })

  test('to a tag takes JSON alone, of the documented shape', async () => {
    const api = await startApi()
    await upload(api, '/v1/experts/acme/x/revisions', adapter(1)).expect(201)
    const put = () => api.request.put('/v1/experts/acme/x/tags/v1')
    expect((await put().set('Content-Type', 'text/plain').send('main').expect(415)).body.error.code).toBe(
      'MEDIA_TYPE_UNSUPPORTED',
    )
    expect((await put().set('Content-Type', 'application/json').send('{').expect(400)).body.error.code).toBe(
      'REQUEST_INVALID',
    )
    const { body } = await put().send({ ref: 'main' }).expect(400)
    expect(body.error.detail.fields.map(({ field }: { field: string }) => field)).toContain('body.revision')
  })
})

describe('operations', () => {
  test('readiness asks the store and the index', async () => {
    const api = await startApi()
    await api.request.get('/readyz').expect(200)
    await api.services.jobs.stop(AbortSignal.abort())
    const { body, headers } = await api.request.get('/readyz').expect(503)
    expect(body.error.code).toBe('STOPPING')
    expect(headers['retry-after']).toMatch(/^\d+$/)
    await api.request.get('/healthz').expect(200)
  })

  test('metrics count requests by route, bytes and jobs', async () => {
    const api = await startApi()
    await upload(api, '/v1/experts/acme/x/revisions', adapter(1)).expect(201)
    await api.request.get('/v1/experts/acme/x').expect(200)
    const { text } = await api.request.get('/metrics').expect(200)
    expect(text).toContain('tern_http_requests_total{method="GET",route="/v1/experts/{ns}/{name}",status="200"} 1')
    expect(text).toMatch(/tern_http_body_bytes_total\{direction="in"\} [1-9]/)
    expect(text).toContain('tern_jobs{state="running"} 0')
    expect(text).toContain('tern_http_request_seconds_bucket')
  })

  test('the log has one line per request, without secrets', async () => {
    const api = await startApi({ adminToken: TOKEN })
    const lines: Record<string, unknown>[] = []
    const log: Log = {
      info: (fields) => void lines.push(fields),
      warn: (fields) => void lines.push(fields),
      error: (fields) => void lines.push(fields),
    }
    const app = supertest(createApp({ ...api.services, log }))
    await app.get('/v1/experts?search=x').set('Authorization', `Bearer ${TOKEN}`).expect(200)
    await app.get('/v1/experts/acme/none').set('Authorization', `Bearer ${TOKEN}`).expect(404)
    expect(lines).toMatchObject([
      { method: 'GET', path: '/v1/experts', status: 200 },
      { method: 'GET', path: '/v1/experts/acme/none', status: 404, code: 'REPO_NOT_FOUND' },
    ])
    expect(JSON.stringify(lines)).not.toContain(TOKEN)
  })

  test('a fault of the server is answered without its cause, which is logged', async () => {
    const api = await startApi()
    const lines: Record<string, unknown>[] = []
    const log: Log = { info() {}, warn() {}, error: (fields) => void lines.push(fields) }
    const broken = { ...api.services, log, ready: () => Promise.reject(new Error('password 123 refused')) }
    const { body } = await supertest(createApp(broken)).get('/readyz').expect(500)
    expect(body.error.code).toBe('INTERNAL')
    expect(JSON.stringify(body)).not.toContain('password')
    expect(lines).toMatchObject([{ err: { message: 'password 123 refused' } }])
  })
})
