/** Turns whatever was thrown into an answer: status, headers and the error body. The one place that logs faults. */
import type { NextFunction, Request, Response } from 'express'
import { CodedError } from '../../errors.ts'
import { ServerError } from '../service/errors.ts'
import { type ErrorCode, errorMap, isErrorCode } from './error-map.ts'
import { drainRest } from './request-body.ts'
import { requestLog } from './request-log.ts'

/** Seconds that a client should wait before it repeats a request answered by 503. */
const RETRY_AFTER = '5'

/** Last in the chain of the app. */
export function answerError(error: unknown, request: Request, response: Response, _next: NextFunction): void {
  const coded = asCoded(error)
  const { status } = errorMap[coded.code]
  requestLog(response).note({ code: coded.code, ...(status === 500 ? { err: error } : { reason: coded.message }) })
  if (response.headersSent || response.destroyed) {
    // Too late for a status: a cut connection is the only way left to say that the body is not whole.
    response.destroy()
    return
  }
  for (const name of response.getHeaderNames()) if (!KEPT_HEADERS.has(name)) response.removeHeader(name)
  if (status === 503) response.setHeader('Retry-After', RETRY_AFTER)
  if (status === 401) response.setHeader('WWW-Authenticate', 'Bearer realm="tern"')
  if (coded.code === 'METHOD_NOT_ALLOWED') response.setHeader('Allow', String(coded.detail.allow))
  if (coded.code === 'RANGE_INVALID') response.setHeader('Content-Range', `bytes */${coded.detail.size}`)
  response.setHeader('Cache-Control', 'no-store')
  response.status(status).json({ error: { code: coded.code, message: coded.message, detail: coded.detail } })
  drainRest(request)
}

const KEPT_HEADERS = new Set(['x-request-id', 'x-content-type-options'])

interface Known {
  readonly code: ErrorCode
  readonly message: string
  readonly detail: Readonly<Record<string, unknown>>
}

function asCoded(error: unknown): Known {
  if (error instanceof CodedError && isErrorCode(error.code)) return error as Known
  if (isAbort(error)) return new ServerError('CANCELLED', 'the client closed the connection')
  const status = (error as { status?: unknown } | null)?.status
  if (status === 400) return new ServerError('REQUEST_INVALID', (error as Error).message)
  return new ServerError('INTERNAL', 'the server failed; its log has the cause')
}

function isAbort(error: unknown): boolean {
  const { name, code } = (error ?? {}) as { name?: string; code?: string }
  return name === 'AbortError' || code === 'ERR_STREAM_PREMATURE_CLOSE' || code === 'ECONNRESET' || code === 'EPIPE'
}
