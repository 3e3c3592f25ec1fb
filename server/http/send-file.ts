/** Answers with a file: tags, conditions, ranges, exact length, back-pressure. */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Response } from 'express'
import type { ServedFile } from '../service/served-file.ts'
import { matchesTag, parseRange, rangeStillValid, type Span } from './range.ts'
import type { Call, Reply } from './route.ts'

const YEAR_SECONDS = 365 * 24 * 3600
/** A redirect costs a round trip: worth it only for files that keep the server busy longer than that. */
const MIN_REDIRECT_BYTES = 2 ** 20
/** A client that takes nothing for so long holds files open for nobody. */
const STALLED_MS = 10 * 60 * 1000

/** Takes over `file` and closes it on every exit. */
export async function fileReply(call: Call, file: ServedFile): Promise<Reply> {
  let handedOver = false
  try {
    const reply = await decide(call, file)
    handedOver = reply.send !== undefined
    return reply
  } finally {
    if (!handedOver) await file.close?.()
  }
}

async function decide(call: Call, file: ServedFile): Promise<Reply> {
  const { request, services } = call
  const etag = `"${file.tag}"`
  const common = { ETag: etag, ...cacheHeaders(file, services.adminToken !== undefined) }
  if (matchesTag(request.get('if-none-match'), etag)) return { status: 304, headers: common }
  if (request.method === 'GET' && services.redirectDownloads && file.size >= MIN_REDIRECT_BYTES) {
    const url = await file.signedUrl?.()
    if (url !== undefined) return { status: 302, headers: { ...common, 'Cache-Control': 'no-store', Location: url } }
  }
  const range =
    request.method === 'GET' && rangeStillValid(request.get('if-range'), etag) ? request.get('range') : undefined
  const span = parseRange(range, file.size)
  const headers = {
    ...common,
    ...bodyHeaders(file, span),
  }
  if (request.method === 'HEAD') return { status: 200, headers }
  return {
    status: span === undefined ? 200 : 206,
    headers,
    send: (response) => sendSpan(call, response, file, span ?? { start: 0, end: file.size }),
  }
}

async function sendSpan(call: Call, response: Response, file: ServedFile, { start, end }: Span): Promise<void> {
  const body = countOut(file.stream(start, end, call.signal), call)
  try {
    // What cannot be opened fails here, while there is still time for a status.
    const first = await body.next()
    response.setTimeout(STALLED_MS, () => response.destroy())
    await pipeline(Readable.from(resumed(first, body), { objectMode: false, highWaterMark: 2 ** 20 }), response)
  } finally {
    await body.return(undefined)
    await file.close?.()
  }
}

async function* resumed(
  first: IteratorResult<Uint8Array, unknown>,
  rest: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (first.done) return
  yield first.value
  yield* rest
}

async function* countOut(body: AsyncIterable<Uint8Array>, call: Call): AsyncGenerator<Uint8Array> {
  for await (const bytes of body) {
    call.metrics.bytesOut(bytes.byteLength)
    yield bytes
  }
}

function cacheHeaders(file: ServedFile, withToken: boolean): Record<string, string> {
  const who = withToken ? 'private' : 'public'
  return {
    'Cache-Control': file.immutable ? `${who}, max-age=${YEAR_SECONDS}, immutable` : `${who}, no-cache`,
    ...(file.revision !== undefined && { 'X-Repo-Commit': file.revision }),
  }
}

function bodyHeaders(file: ServedFile, span: Span | undefined): Record<string, string> {
  const length = span === undefined ? file.size : span.end - span.start
  return {
    'Accept-Ranges': 'bytes',
    'Content-Length': String(length),
    'Content-Type': file.mediaType,
    // Files are strangers' work: a browser saves them and never runs them in our name.
    'Content-Disposition': `attachment; filename*=UTF-8''${encodeURIComponent(file.fileName)}`,
    'Content-Security-Policy': "default-src 'none'; sandbox",
    ...(span !== undefined && { 'Content-Range': `bytes ${span.start}-${span.end - 1}/${file.size}` }),
  }
}
