/** Reads request bodies: small text whole, and what is left of a refused one. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { ServerError } from '../service/errors.ts'

/** A recipe or a tag is small; this stops a body from filling memory. */
const MAX_TEXT_BYTES = 2 ** 20
/** After an early refusal a client that is still sending gets this much patience to come and read the answer. */
const DRAIN_BYTES = 64 * 2 ** 20
const DRAIN_MS = 10_000

const awaiting = new WeakSet<IncomingMessage>()

/** A request with `Expect: 100-continue` whose client waits for us to ask for the body. */
export function markAwaitingContinue(request: IncomingMessage): void {
  awaiting.add(request)
}

/** Call just before the body is read: by then everything that can be refused without it has been. */
export function askForBody(request: IncomingMessage, response: ServerResponse): void {
  if (awaiting.delete(request)) response.writeContinue()
}

/** The body as text. Throws TOO_LARGE, UPLOAD_INCOMPLETE, REQUEST_INVALID (not UTF-8). */
export async function readText(request: IncomingMessage, response: ServerResponse): Promise<string> {
  const announced = Number(request.headers['content-length'] ?? 0)
  if (announced > MAX_TEXT_BYTES) throw tooLong()
  askForBody(request, response)
  const pieces: Uint8Array[] = []
  let size = 0
  // Leaving the loop must not destroy the request: its socket still has to carry the answer.
  for await (const bytes of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
    size += bytes.byteLength
    if (size > MAX_TEXT_BYTES) throw tooLong()
    pieces.push(bytes)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(pieces))
  } catch {
    throw new ServerError('REQUEST_INVALID', 'the body is not UTF-8 text', { field: 'body' })
  }
}

/**
 * Lets a client finish sending what nobody will read, within bounds: a connection closed under it would reset before
 * the answer was read.
 */
export function drainRest(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return
  if (awaiting.has(request)) return
  let left = DRAIN_BYTES
  const timer = setTimeout(() => request.socket.destroy(), DRAIN_MS).unref()
  request.on('data', (bytes: Uint8Array) => {
    left -= bytes.byteLength
    if (left < 0) request.socket.destroy()
  })
  request.once('close', () => clearTimeout(timer))
  request.once('end', () => clearTimeout(timer))
  request.resume()
}

function tooLong(): ServerError {
  return new ServerError('TOO_LARGE', `this call takes a body of at most ${MAX_TEXT_BYTES} bytes`, {
    limit: MAX_TEXT_BYTES,
  })
}
