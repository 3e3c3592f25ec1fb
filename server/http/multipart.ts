/** multipart/form-data as a repo's files: the filename of a part is its path in the repo. */
import { type Readable, Transform } from 'node:stream'
import busboy from 'busboy'
import { ServerError } from '../service/errors.ts'
import { askForBody } from './request-body.ts'
import { type Call, mediaType } from './route.ts'

/** Stops an upload of a million empty files. */
const MAX_PARTS = 1000
/** Stops a part with a header that never ends. */
const MAX_HEADER_PAIRS = 20
/** A client that sends nothing for so long is gone, or holds a connection on purpose. */
const IDLE_MS = 60_000

/** Consumes one file; it may end the upload by throwing. */
export type OnFile = (path: string, content: Readable) => Promise<void>

/**
 * Feeds every part to `onFile` while the body arrives. Throws the first failure: of onFile, TOO_LARGE,
 * UPLOAD_INCOMPLETE, REQUEST_INVALID, MEDIA_TYPE_UNSUPPORTED. The request is never destroyed, so that an answer can
 * still be sent.
 */
export async function receiveMultipart(call: Call, onFile: OnFile): Promise<void> {
  const { request, response, signal } = call
  const parser = createParser(call)
  const counter = countBytes(call)
  const failure = new AbortController()
  const fail = (error: unknown) => failure.abort(error)
  const files: Promise<void>[] = []
  const done = new Promise<void>((resolve) => {
    parser.once('finish', resolve)
    failure.signal.addEventListener('abort', () => resolve())
  })
  parser.on('file', (_field, content, { filename }) => {
    files.push(consume(filename, content, onFile).catch(fail))
  })
  parser.on('filesLimit', () => fail(new ServerError('TOO_LARGE', `an upload may have at most ${MAX_PARTS} parts`)))
  parser.on('fieldsLimit', () => fail(noFilename()))
  parser.on('error', (error: Error) => fail(parserError(error)))
  counter.on('error', fail)
  const onGone = () => fail(incomplete('the connection closed'))
  request.once('error', onGone)
  const onAbort = () => fail(signal.reason)
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  const idle = setTimeout(() => fail(incomplete(`nothing came for ${IDLE_MS / 1000} seconds`)), IDLE_MS).unref()
  counter.on('data', () => idle.refresh())

  askForBody(request, response)
  request.pipe(counter).pipe(parser)
  await done
  clearTimeout(idle)
  if (failure.signal.aborted) {
    request.unpipe(counter)
    parser.destroy()
  }
  await Promise.all(files)
  request.off('error', onGone)
  signal.removeEventListener('abort', onAbort)
  if (failure.signal.aborted) throw failure.signal.reason
}

function createParser({ request, services: { maxUploadBytes } }: Call): busboy.Busboy {
  const type = mediaType(request)
  if (type !== 'multipart/form-data') {
    throw new ServerError(
      'MEDIA_TYPE_UNSUPPORTED',
      `this call takes multipart/form-data, one part per file, not ${type || 'a body without type'}`,
    )
  }
  if (Number(request.headers['content-length'] ?? 0) > maxUploadBytes) throw bodyTooLarge(maxUploadBytes)
  const limits = { files: MAX_PARTS, fields: 0, headerPairs: MAX_HEADER_PAIRS }
  try {
    return busboy({ headers: request.headers, preservePath: true, defParamCharset: 'utf8', limits })
  } catch (error) {
    throw new ServerError('REQUEST_INVALID', `the body cannot be read as multipart: ${(error as Error).message}`, {
      field: 'content-type',
    })
  }
}

function countBytes({ metrics, services: { maxUploadBytes } }: Call): Transform {
  let size = 0
  return new Transform({
    transform(bytes: Uint8Array, _encoding, done) {
      size += bytes.byteLength
      metrics.bytesIn(bytes.byteLength)
      if (size > maxUploadBytes) done(bodyTooLarge(maxUploadBytes))
      else done(null, bytes)
    },
  })
}

async function consume(filename: string | undefined, content: Readable, onFile: OnFile): Promise<void> {
  // A stream that nobody reads any more may still fail when the parser is destroyed.
  content.on('error', () => {})
  if (filename === undefined || filename === '') throw noFilename()
  await onFile(filename, content)
}

function bodyTooLarge(limit: number): ServerError {
  return new ServerError('TOO_LARGE', `the body exceeds the ${limit} bytes that this server takes`, { limit })
}

function noFilename(): ServerError {
  return new ServerError('REQUEST_INVALID', 'a part has no filename: every part is a file of the repo', {
    field: 'body',
  })
}

/** The parser tells its failures apart by their text alone. */
function parserError({ message }: Error): ServerError {
  if (message.startsWith('Unexpected end')) return incomplete(message)
  return new ServerError('REQUEST_INVALID', `the body cannot be read as multipart: ${message}`, { field: 'body' })
}

function incomplete(why: string): ServerError {
  return new ServerError('UPLOAD_INCOMPLETE', `the upload is not whole: ${why}`)
}
