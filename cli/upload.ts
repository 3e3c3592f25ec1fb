/** Streams files from disk to the server as multipart/form-data: no file is ever whole in memory. */
import { randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type ApiTarget, apiError, apiHeaders, parseJson, retryBusy, unreachable } from './api-client.ts'
import { CliError } from './errors.ts'
import type { LocalFile } from './local-files.ts'

const READ_BYTES = 1 << 20
/** A proxy in between may never say "100 Continue". */
const CONTINUE_MS = 2000

/**
 * POSTs the files, each as a part whose filename is its path in the repo, and returns the JSON answer. Sent again from
 * the start while the server is busy: publishing the same content twice is one revision.
 *
 * Uses node:http, since fetch gives up on an answer that takes more than five minutes (compressing a large fine-tune
 * may) and loses an answer that comes before the body is through (a refusal of its first file).
 */
export async function uploadFiles(
  target: ApiTarget,
  path: string,
  files: readonly LocalFile[],
  onProgress: (done: number, total: number) => void,
): Promise<unknown> {
  return retryBusy(target.signal, () => sendOnce(target, path, files, onProgress))
}

async function sendOnce(
  target: ApiTarget,
  path: string,
  files: readonly LocalFile[],
  onProgress: (done: number, total: number) => void,
): Promise<unknown> {
  const form = multipart(files)
  const url = new URL(target.url + path)
  const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, {
    method: 'POST',
    headers: apiHeaders(target, {
      'content-type': form.contentType,
      'content-length': String(form.size),
      // What can be refused without the body (a name, a parameter, its size) is refused before it is sent.
      expect: '100-continue',
    }),
    signal: target.signal,
  })
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    request.once('response', resolve)
    request.once('error', reject)
  })
  let localFailure: unknown
  void askedForBody(request).then(async () => {
    // A refusal may also come while the body is on its way, and ends the sending with an error of its own.
    await pipeline(Readable.from(counted(form, onProgress)), request).catch((error: unknown) => {
      localFailure = error
    })
  })
  const response = await answered.catch((error: unknown) => {
    throw localFailure instanceof CliError ? localFailure : unreachable(target, error)
  })
  try {
    return await readAnswer(target, response)
  } finally {
    // Nobody listens any more to what may be left of the body.
    if (!request.writableFinished) request.destroy()
  }
}

/** Resolves when the server wants the body, or after the time that RFC 9110 lets a client wait; never after an answer. */
function askedForBody(request: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, CONTINUE_MS)
    request.once('continue', () => {
      clearTimeout(timer)
      resolve()
    })
    for (const event of ['response', 'close']) request.once(event, () => clearTimeout(timer))
    request.flushHeaders()
  })
}

async function readAnswer(target: ApiTarget, response: IncomingMessage): Promise<unknown> {
  const chunks: Uint8Array[] = []
  try {
    for await (const chunk of response) chunks.push(chunk)
  } catch (error) {
    throw unreachable(target, error)
  }
  const text = Buffer.concat(chunks).toString('utf8')
  const status = response.statusCode ?? 0
  if (status >= 400) throw apiError(status, text, { retry_after: response.headers['retry-after'] })
  return parseJson(text, status)
}

async function* counted(
  form: MultipartBody,
  onProgress: (done: number, total: number) => void,
): AsyncGenerator<Uint8Array> {
  let done = 0
  for await (const chunk of form.stream()) {
    yield chunk
    done += chunk.byteLength
    onProgress(done, form.size)
  }
}

interface MultipartBody {
  readonly contentType: string
  readonly size: number
  stream(): AsyncGenerator<Uint8Array>
}

function multipart(files: readonly LocalFile[]): MultipartBody {
  const boundary = `tern-${randomBytes(18).toString('hex')}`
  const encode = (text: string) => new TextEncoder().encode(text)
  const heads = files.map((file) => encode(partHead(boundary, file.path)))
  const close = encode(`--${boundary}--\r\n`)
  const lineBreak = encode('\r\n')
  const size = files.reduce(
    (sum, file, index) => sum + (heads[index]?.byteLength ?? 0) + file.size + lineBreak.byteLength,
    close.byteLength,
  )
  return {
    contentType: `multipart/form-data; boundary=${boundary}`,
    size,
    async *stream() {
      for (const [index, file] of files.entries()) {
        yield heads[index] ?? new Uint8Array()
        yield* fileBytes(file)
        yield lineBreak
      }
      yield close
    },
  }
}

/** Quotes and line breaks in a file name are escaped as browsers do it (WHATWG form-data encoding). */
function partHead(boundary: string, path: string): string {
  const name = path.replaceAll('\n', '%0A').replaceAll('\r', '%0D').replaceAll('"', '%22')
  return `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="${name}"\r\ncontent-type: application/octet-stream\r\n\r\n`
}

/** Exactly `file.size` bytes: a file that changes under us must not shift the parts after it. */
async function* fileBytes(file: LocalFile): AsyncGenerator<Uint8Array> {
  let sent = 0
  for await (const chunk of createReadStream(file.source, { highWaterMark: READ_BYTES })) {
    sent += chunk.byteLength
    if (sent > file.size) break
    yield chunk
  }
  if (sent !== file.size) {
    throw new CliError('INPUT_NOT_FOUND', `${file.source} changed while it was sent: ${file.size} bytes before`, {
      path: file.source,
    })
  }
}
