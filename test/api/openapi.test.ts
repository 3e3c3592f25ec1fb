import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { ROUTES } from '../../server/http/app.ts'
import { documentedPath, openApiDocument } from '../../server/http/openapi.ts'
import { expressPath } from '../../server/http/route.ts'
import { ErrorBody } from '../../server/http/schemas.ts'
import { VERSION } from '../../server/http/version.ts'
import { startApi } from './harness.ts'

type Operation = {
  operationId: string
  parameters?: { name: string; in: string }[]
  responses: Record<string, unknown>
}
type Document = { paths: Record<string, Record<string, Operation>>; components: { schemas: Record<string, unknown> } }

const document = openApiDocument(ROUTES, VERSION) as unknown as Document

/** Method and path of every route that the app has mounted, whoever mounted it. */
function mountedRoutes(app: {
  router: { stack: { route?: { path: string; stack: { method?: string }[] } }[] }
}): string[] {
  return app.router.stack.flatMap(({ route }) =>
    route === undefined
      ? []
      : route.stack.flatMap(({ method }) => (method === undefined ? [] : [`${method} ${route.path}`])),
  )
}

describe('the OpenAPI document', () => {
  test('describes the routes that are mounted, and no others', async () => {
    const { app } = await startApi()
    const mounted = mountedRoutes(app as never)
    expect(mounted.length).toBeGreaterThan(20)
    const documented = ROUTES.map(({ method, path }) => `${method} ${expressPath(path)}`)
    expect(mounted.toSorted()).toEqual(documented.toSorted())
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    )
    expect(operations.toSorted()).toEqual(
      ROUTES.map(({ method, path }) => `${method} ${documentedPath(path)}`).toSorted(),
    )
  })

  test('in spec/openapi.json is the one of the routes (else run "npm run openapi")', () => {
    const file = readFileSync(new URL('../../spec/openapi.json', import.meta.url), 'utf8')
    expect(JSON.parse(file)).toEqual(document)
  })

  test('is served', async () => {
    const { request } = await startApi()
    expect((await request.get('/openapi.json').expect(200)).body).toEqual(document)
  })

  test('describes every parameter of every path', () => {
    for (const [path, methods] of Object.entries(document.paths)) {
      const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      for (const { parameters = [] } of Object.values(methods)) {
        expect(
          parameters
            .filter((p) => p.in === 'path')
            .map(({ name }) => name)
            .toSorted(),
        ).toEqual(names.toSorted())
      }
    }
  })

  test('gives every operation an id of its own', () => {
    const ids = Object.values(document.paths).flatMap((methods) => Object.values(methods).map((o) => o.operationId))
    expect(new Set(ids).size).toBe(ids.length)
  })

  test('refers only to components that are there', () => {
    const text = JSON.stringify(document)
    const refs = [...text.matchAll(/"\$ref":"#\/components\/(\w+)\/(\w+)"/g)]
    expect(refs.length).toBeGreaterThan(50)
    const components = document.components as Record<string, Record<string, unknown>>
    for (const [, group = '', name = ''] of refs) expect(components[group], name).toHaveProperty(name)
    expect(text).not.toContain('$defs')
  })

  test('has the shape of errors that are answered', async () => {
    const { request } = await startApi()
    const { body } = await request.get('/v1/experts/acme/none').expect(404)
    expect(z.strictObject(ErrorBody.shape).parse(body)).toEqual(body)
  })
})

describe('/docs', () => {
  test('shows every call, and runs no script', async () => {
    const { request } = await startApi()
    const { text, headers } = await request.get('/docs').expect(200)
    for (const path of Object.keys(document.paths)) expect(text).toContain(path)
    expect(text).not.toContain('<script')
    expect(headers['content-security-policy']).toContain("default-src 'none'")
  })
})
