/** A route says everything about itself once: it is mounted from this, and documented from this. */
import { isDeepStrictEqual } from 'node:util'
import type { IRouter, Request, Response } from 'express'
import { z } from 'zod'
import { ServerError } from '../service/errors.ts'
import type { Services } from '../service/services.ts'
import type { ErrorCode } from './error-map.ts'
import { groupBy } from './group-by.ts'
import type { Metrics } from './metrics.ts'
import { readText } from './request-body.ts'
import { setRoute } from './request-log.ts'

export type Method = 'get' | 'post' | 'put' | 'delete'

export interface BodySpec {
  /** Media types, each with what it holds. A handler that takes a stream reads it itself. */
  readonly content: Readonly<Record<string, z.ZodType>>
  readonly description: string
}

export interface ResponseSpec {
  readonly description: string
  /** JSON of this shape; absent for bytes or nothing. */
  readonly schema?: z.ZodType
  /** Media type of a body that is not JSON. */
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface RouteSpec<P extends z.ZodType = z.ZodType, Q extends z.ZodType = z.ZodType> {
  readonly method: Method
  /** OpenAPI's braces; `{path+}` takes the rest of the path, slashes included. */
  readonly path: string
  readonly tag: string
  readonly summary: string
  readonly description?: string
  readonly params?: P
  readonly query?: Q
  readonly body?: BodySpec
  readonly responses: Readonly<Record<number, ResponseSpec>>
  /** Error codes worth naming beside the ones that any call may give. */
  readonly errors?: readonly ErrorCode[]
  /** Answers without a token: operations and documentation. */
  readonly open?: boolean
  readonly handler: (call: Call<z.output<P>, z.output<Q>>) => Promise<Reply>
}

export interface Call<P = unknown, Q = unknown> {
  readonly params: P
  readonly query: Q
  readonly request: Request
  readonly response: Response
  readonly services: Services
  readonly metrics: Metrics
  /** Aborts when the client goes away before the answer is complete. */
  readonly signal: AbortSignal
}

export interface Reply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  readonly json?: unknown
  /** Or sends the body itself, after status and headers are set. */
  readonly send?: (response: Response) => Promise<void>
}

/** A route of any parameters, as lists hold them. */
// biome-ignore lint/suspicious/noExplicitAny: parameters of handlers are contravariant, and a list has many kinds.
export type AnyRoute = RouteSpec<any, any>

const NOTHING = z.strictObject({})

/** Infers the handler's types from the schemas. */
export function route<P extends z.ZodType = typeof NOTHING, Q extends z.ZodType = typeof NOTHING>(
  spec: RouteSpec<P, Q>,
): RouteSpec<P, Q> {
  return spec
}

export interface MountOptions {
  readonly services: Services
  readonly metrics: Metrics
  /** Fails an answer that is not what its route documents. For tests. */
  readonly checkReplies: boolean
}

/** Mounts routes on an app or router; a path that exists with other methods answers METHOD_NOT_ALLOWED. */
export function mountRoutes(router: IRouter, routes: readonly AnyRoute[], options: MountOptions): void {
  const byPath = groupBy(routes, (spec) => spec.path)
  for (const [path, specs] of byPath) {
    const mounted = router.route(expressPath(path))
    for (const spec of specs) mounted[spec.method]((request, response) => answer(spec, request, response, options))
    const allow = specs
      .flatMap(({ method }) => (method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()]))
      .join(', ')
    mounted.all((request) => {
      throw new ServerError('METHOD_NOT_ALLOWED', `${request.method} is not a method of ${path}; it has ${allow}`, {
        allow,
      })
    })
  }
}

export function expressPath(path: string): string {
  return path.replace(/\{(\w+)\+\}/g, '*$1').replace(/\{(\w+)\}/g, ':$1')
}

async function answer(spec: AnyRoute, request: Request, response: Response, options: MountOptions): Promise<void> {
  setRoute(response, spec.path)
  const abort = new AbortController()
  const onClose = () => {
    if (!response.writableFinished) abort.abort(new ServerError('CANCELLED', 'the client closed the connection'))
  }
  response.once('close', onClose)
  if (response.closed) onClose()
  const reply = await spec.handler({
    params: check(spec.params ?? NOTHING, joinRest(request.params), 'path'),
    query: check(spec.query ?? NOTHING, request.query, 'query'),
    request,
    response,
    services: options.services,
    metrics: options.metrics,
    signal: abort.signal,
  })
  if (options.checkReplies) checkReply(spec, reply)
  response.status(reply.status)
  for (const [name, value] of Object.entries(reply.headers ?? {})) response.setHeader(name, value)
  if (reply.json !== undefined) response.json(reply.json)
  else if (reply.send === undefined || request.method === 'HEAD') response.end()
  else await reply.send(response)
}

/** The body as JSON of this shape. Throws MEDIA_TYPE_UNSUPPORTED, REQUEST_INVALID, TOO_LARGE. */
export async function readJson<S extends z.ZodType>(call: Call, schema: S): Promise<z.output<S>> {
  const type = mediaType(call.request)
  if (type !== 'application/json') {
    throw new ServerError(
      'MEDIA_TYPE_UNSUPPORTED',
      `this call takes application/json, not ${type || 'a body without type'}`,
    )
  }
  const text = await readText(call.request, call.response)
  return check(schema, parseJson(text), 'body')
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new ServerError('REQUEST_INVALID', `the body is not JSON: ${(error as Error).message}`, { field: 'body' })
  }
}

export function mediaType(request: Request): string {
  return (request.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
}

/** Parses by schema; REQUEST_INVALID names every wrong field. */
export function check<S extends z.ZodType>(schema: S, value: unknown, where: 'path' | 'query' | 'body'): z.output<S> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const fields = parsed.error.issues.map(({ path, message }) => ({ field: [where, ...path].join('.'), message }))
  throw new ServerError('REQUEST_INVALID', fields.map(({ field, message }) => `${field}: ${message}`).join('; '), {
    fields,
  })
}

/** Express gives the rest of a path as its pieces. */
function joinRest(params: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const entries = Object.entries(params).map(([key, value]) => [key, Array.isArray(value) ? value.join('/') : value])
  return Object.fromEntries(entries)
}

function checkReply(spec: AnyRoute, reply: Reply): void {
  const documented = spec.responses[reply.status]
  if (documented === undefined) throw new Error(`${spec.method} ${spec.path} does not document status ${reply.status}`)
  if (documented.schema === undefined) return
  const json = JSON.parse(JSON.stringify(reply.json))
  const parsed = documented.schema.parse(json)
  // Parsing drops what the schema does not name, so a difference is an undocumented field.
  if (!isDeepStrictEqual(parsed, json)) {
    throw new Error(`${spec.method} ${spec.path} answers more than it documents: ${JSON.stringify(json)}`)
  }
}
