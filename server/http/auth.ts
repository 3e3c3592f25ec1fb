/** Who may call. With a token: whoever brings it. Without: this machine, and no web page of another site. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Request, RequestHandler } from 'express'
import { ServerError } from '../service/errors.ts'

const LOCAL_NAME = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i

/** Refuses with UNAUTHENTICATED or FORBIDDEN. */
export function requireCaller(adminToken: string | undefined): RequestHandler {
  if (adminToken === undefined) {
    return (request, _response, next) => {
      checkLocal(request)
      next()
    }
  }
  const expected = fingerprint(adminToken)
  return (request, _response, next) => {
    const given = /^Bearer +(\S+)$/i.exec(request.get('authorization') ?? '')?.[1]
    if (given === undefined || !timingSafeEqual(fingerprint(given), expected)) {
      throw new ServerError(
        'UNAUTHENTICATED',
        given === undefined ? 'a bearer token is needed' : 'the token is not valid',
      )
    }
    next()
  }
}

/**
 * A page on the web can make a browser call 127.0.0.1, by a form or by a name that resolves there. Both show in the
 * headers that a page cannot choose.
 */
function checkLocal(request: Request): void {
  const host = request.get('host') ?? ''
  if (!LOCAL_NAME.test(host)) {
    throw new ServerError(
      'FORBIDDEN',
      `this server has no token and answers to 127.0.0.1 only, not to ${host || 'no name'}`,
      {
        host,
      },
    )
  }
  const origin = request.get('origin')
  if (origin !== undefined && origin !== `http://${host}`) {
    throw new ServerError('FORBIDDEN', `this server has no token and refuses pages of ${origin}`, { origin })
  }
}

/** Equal lengths for the comparison in constant time. */
function fingerprint(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
