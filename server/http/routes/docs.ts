/** The API about itself. */
import { z } from 'zod'
import { docsPage } from '../docs-page.ts'
import { openApiDocument } from '../openapi.ts'
import { type AnyRoute, route } from '../route.ts'

/** `documented`: all routes but these two, which add themselves. */
export function docsRoutes(documented: readonly AnyRoute[], version: string): AnyRoute[] {
  let document: Record<string, unknown> | undefined
  const all: AnyRoute[] = [...documented]
  const made = () => {
    document ??= openApiDocument(all, version)
    return document
  }
  const routes: AnyRoute[] = [
    route({
      method: 'get',
      path: '/openapi.json',
      tag: 'operations',
      summary: 'This description, as OpenAPI 3.1',
      responses: { 200: { description: 'the document', schema: z.record(z.string(), z.unknown()) } },
      open: true,
      handler: async () => ({ status: 200, json: made() }),
    }),
    route({
      method: 'get',
      path: '/docs',
      tag: 'operations',
      summary: 'This description, to read',
      responses: { 200: { description: 'a page', type: 'text/html' } },
      open: true,
      handler: async () => ({
        status: 200,
        headers: {
          'Content-Type': 'text/html; charset=utf-8',
          'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'",
        },
        send: async (response) => void response.end(docsPage(all, version)),
      }),
    }),
  ]
  all.push(...routes)
  return all
}
