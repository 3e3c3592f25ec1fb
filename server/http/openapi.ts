/** The OpenAPI 3.1 document, made from the routes alone. */
import { z } from 'zod'
import { type ErrorCode, errorMap } from './error-map.ts'
import { groupBy } from './group-by.ts'
import type { AnyRoute, ResponseSpec } from './route.ts'
import { ErrorBody } from './schemas.ts'

type Json = Record<string, unknown>

const DIALECT = 'https://json-schema.org/draft/2020-12/schema'
/** What any call under a token may answer. */
const COMMON_ERRORS: readonly ErrorCode[] = ['REQUEST_INVALID', 'INTERNAL']
const CALLER_ERRORS: readonly ErrorCode[] = ['UNAUTHENTICATED', 'FORBIDDEN']

export function openApiDocument(routes: readonly AnyRoute[], version: string): Json {
  const schemas: Json = {}
  const paths: Record<string, Json> = {}
  for (const spec of routes) {
    const path = documentedPath(spec.path)
    paths[path] = { ...paths[path], [spec.method]: operation(spec, schemas) }
  }
  const error = schema(ErrorBody, schemas)
  return {
    openapi: '3.1.0',
    jsonSchemaDialect: DIALECT,
    info: {
      title: 'Tern',
      version,
      summary: 'The registry for ternary-compressed experts: upload, fetch and merge fine-tunes.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    paths: sorted(paths),
    components: {
      schemas: sorted(schemas),
      responses: { Error: { description: 'See docs/errors.md.', content: { 'application/json': { schema: error } } } },
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'TERN_ADMIN_TOKEN, where it is set.' },
      },
    },
  }
}

export function documentedPath(path: string): string {
  return path.replaceAll('+}', '}')
}

function operation(spec: AnyRoute, schemas: Json): Json {
  const parameters = [...fields(spec.params, 'path'), ...fields(spec.query, 'query')]
  return {
    tags: [spec.tag],
    operationId: operationId(spec),
    summary: spec.summary,
    ...(spec.description !== undefined && { description: spec.description }),
    ...(parameters.length > 0 && { parameters }),
    ...(spec.body !== undefined && { requestBody: requestBody(spec.body, schemas) }),
    responses: { ...successes(spec, schemas), ...failures(spec) },
    security: spec.open === true ? [] : [{}, { bearer: [] }],
  }
}

function operationId(spec: AnyRoute): string {
  const words = documentedPath(spec.path).match(/[\w.]+/g) ?? []
  return [spec.method, ...words.map((word) => word.replaceAll('.', '_'))].join('_')
}

function fields(object: z.ZodType | undefined, where: 'path' | 'query'): Json[] {
  if (object === undefined) return []
  const { properties = {}, required = [] } = z.toJSONSchema(object, { io: 'input' }) as {
    properties?: Record<string, Json>
    required?: string[]
  }
  return Object.entries(properties).map(([name, { description, ...rest }]) => ({
    name,
    in: where,
    required: where === 'path' || required.includes(name),
    ...(description !== undefined && { description }),
    schema: rest,
  }))
}

function requestBody(body: NonNullable<AnyRoute['body']>, schemas: Json): Json {
  const content = Object.entries(body.content).map(([type, shape]) => [type, { schema: schema(shape, schemas) }])
  return { required: true, description: body.description, content: Object.fromEntries(content) }
}

function successes(spec: AnyRoute, schemas: Json): Json {
  const entries = Object.entries<ResponseSpec>(spec.responses).map(([status, response]) => [
    status,
    success(response, schemas),
  ])
  return Object.fromEntries(entries)
}

function success(response: ResponseSpec, schemas: Json): Json {
  const headers = Object.entries(response.headers ?? {}).map(([name, description]) => [
    name,
    { description, schema: { type: 'string' } },
  ])
  return {
    description: response.description,
    ...(headers.length > 0 && { headers: Object.fromEntries(headers) }),
    ...(response.schema !== undefined && {
      content: { 'application/json': { schema: schema(response.schema, schemas) } },
    }),
    ...(response.type !== undefined && { content: { [response.type]: { schema: bodySchema(response.type) } } }),
  }
}

function bodySchema(type: string): Json {
  return type.startsWith('text/') ? { type: 'string' } : { type: 'string', format: 'binary' }
}

/** Error statuses, each with the codes that give it. */
function failures(spec: AnyRoute): Json {
  const codes = new Set([...COMMON_ERRORS, ...(spec.open === true ? [] : CALLER_ERRORS), ...(spec.errors ?? [])])
  const byStatus = groupBy(codes, (code) => errorMap[code].status)
  const entries = [...byStatus].map(([status, list]) => [
    status,
    { $ref: '#/components/responses/Error', description: list.sort().join(', ') },
  ])
  return Object.fromEntries(entries)
}

/** JSON Schema of a shape; what has an id goes to components once and is referred to. */
function schema(shape: z.ZodType, schemas: Json): Json {
  const {
    $schema: _dialect,
    $defs = {},
    ...own
  } = z.toJSONSchema(shape, { io: 'input', unrepresentable: 'any' }) as Json & {
    $defs?: Json
  }
  for (const [name, definition] of Object.entries($defs)) schemas[name] = toComponents(definition)
  return toComponents(own) as Json
}

function toComponents(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value).replaceAll('"#/$defs/', '"#/components/schemas/'))
}

function sorted(object: Json | Record<string, Json>): Json {
  return Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)))
}
