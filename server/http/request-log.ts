/** One log line per request when it ends, with id, route and what the handlers noted. Never bodies, never headers. */
import { randomUUID } from 'node:crypto'
import type { NextFunction, Request, RequestHandler, Response } from 'express'
import type { Log } from '../service/log.ts'
import type { Metrics } from './metrics.ts'

export interface RequestLog {
  readonly id: string
  /** Adds fields to the request's line. */
  note(fields: Record<string, unknown>): void
}

/** A client may bring its own id, if it is short and harmless in a log. */
const CLIENT_ID = /^[\w.-]{1,64}$/

const logs = new WeakMap<Response, RequestLog & { fields: Record<string, unknown>; route: string }>()

/** First in the chain: gives the request its id, and logs and counts it when the answer has ended. */
export function logRequests(log: Log, metrics: Metrics): RequestHandler {
  return (request: Request, response: Response, next: NextFunction) => {
    const started = performance.now()
    const given = request.get('x-request-id')
    const id = given !== undefined && CLIENT_ID.test(given) ? given : randomUUID()
    const fields: Record<string, unknown> = {}
    logs.set(response, { id, fields, route: 'none', note: (more) => Object.assign(fields, more) })
    response.setHeader('X-Request-Id', id)
    response.setHeader('X-Content-Type-Options', 'nosniff')
    response.once('close', () => {
      const seconds = (performance.now() - started) / 1000
      const route = logs.get(response)?.route ?? 'none'
      const line = {
        request_id: id,
        method: request.method,
        path: request.path,
        status: response.statusCode,
        ms: Math.round(seconds * 1000),
        ...(response.writableFinished ? {} : { aborted: true }),
        ...fields,
      }
      metrics.request(request.method, route, response.statusCode, seconds)
      if ('err' in fields) log.error(line, 'request failed')
      else log.info(line, 'request')
    })
    next()
  }
}

export function requestLog(response: Response): RequestLog {
  return logs.get(response) ?? { id: 'none', note() {} }
}

/** The pattern of the route that answers: metrics are counted by it, not by the path, which has no bound. */
export function setRoute(response: Response, route: string): void {
  const entry = logs.get(response)
  if (entry !== undefined) entry.route = route
}
