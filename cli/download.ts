/** Downloads into a file: resumes what an earlier run left, follows signed URLs, checks the digest. */
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type ApiTarget, apiError, apiFetch, unreachable } from './api-client.ts'
import { CliError } from './errors.ts'

export interface DownloadRequest {
  /** Path on the server. */
  readonly from: string
  /** File to make. Its bytes collect in `to + '.part'`. */
  readonly to: string
  /** `sha256:<hex>` where it is known beforehand; only then is an earlier part resumed. */
  readonly digest?: string | undefined
  readonly onProgress?: (done: number, total: number) => void
}

export interface Downloaded {
  readonly bytes: number
  /** Bytes that an earlier run had already brought. */
  readonly resumedAt: number
  readonly digest: string
}

/** A cut connection is taken up again this often before the command gives up (the part stays for the next run). */
const RESUMES = 5
/** A wrong digest after a resume may come from a stale part: once more from the start. */
const FRESH_STARTS = 2

/** Throws DOWNLOAD_CORRUPT when the bytes do not have the digest; the file then does not exist. */
export async function download(target: ApiTarget, request: DownloadRequest): Promise<Downloaded> {
  const part = `${request.to}.part`
  await mkdir(dirname(request.to), { recursive: true })
  if (request.digest === undefined) await rm(part, { force: true })
  for (let start = 1; ; start += 1) {
    const resumedAt = await sizeOf(part)
    await fetchWithResumes(target, request, part)
    const digest = await digestOf(part, target.signal)
    if (request.digest === undefined || digest === request.digest) {
      await rename(part, request.to)
      return { bytes: await sizeOf(request.to), resumedAt, digest }
    }
    await rm(part, { force: true })
    if (resumedAt > 0 && start < FRESH_STARTS) continue
    const message = `${request.from} arrived as ${digest}, ${request.digest} was promised`
    throw new CliError('DOWNLOAD_CORRUPT', message, { expected: request.digest, actual: digest })
  }
}

async function fetchWithResumes(target: ApiTarget, request: DownloadRequest, part: string): Promise<void> {
  let etag = request.digest === undefined ? undefined : `"${request.digest}"`
  for (let attempt = 1; ; attempt += 1) {
    const have = etag === undefined ? 0 : await sizeOf(part)
    const response = await openBody(target, request.from, have, etag)
    if (!response) return
    etag = strongEtag(response) ?? etag
    const failure = await append(response, part, have, request, target.signal)
    if (!failure) return
    target.signal.throwIfAborted()
    if (attempt === RESUMES || etag === undefined) throw unreachable(target, failure)
  }
}

/** The answer with the bytes from `have` on (or from 0 where the server starts over); undefined when none are left. */
async function openBody(
  target: ApiTarget,
  from: string,
  have: number,
  etag: string | undefined,
): Promise<Response | undefined> {
  const range: Record<string, string> = have > 0 ? { range: `bytes=${have}-` } : {}
  const headers = { 'accept-encoding': 'identity', ...range, ...(have > 0 && etag ? { 'if-range': etag } : {}) }
  try {
    const response = await apiFetch(target, from, { headers, redirect: 'manual' })
    const location = response.headers.get('location')
    return response.status >= 300 && location ? await openSigned(target, location, range) : response
  } catch (error) {
    // Nothing after the bytes that are already here.
    if (have > 0 && error instanceof Error && 'status' in error && error.status === 416) return undefined
    throw error
  }
}

/**
 * A signed URL of the store: neither our token nor our ETag means anything there, and what it serves never changes, so
 * the range goes without a condition.
 */
async function openSigned(target: ApiTarget, location: string, headers: Record<string, string>): Promise<Response> {
  const url = new URL(location, `${target.url}/`)
  try {
    const response = await fetch(url, { headers, signal: target.signal })
    if (response.status < 400) return response
    throw apiError(response.status, await response.text())
  } catch (error) {
    throw error instanceof Error && 'status' in error ? error : unreachable({ ...target, url: url.origin }, error)
  }
}

/** Writes the body to the part. Returns what broke the connection, if anything did; local failures are thrown. */
async function append(
  response: Response,
  part: string,
  have: number,
  request: DownloadRequest,
  signal: AbortSignal,
): Promise<unknown> {
  const offset = response.status === 206 ? have : 0
  const total = offset + Number(response.headers.get('content-length') ?? 0)
  let failure: unknown
  async function* chunks(): AsyncGenerator<Uint8Array> {
    let done = offset
    try {
      for await (const chunk of response.body ?? []) {
        yield chunk
        done += chunk.byteLength
        request.onProgress?.(done, total)
      }
    } catch (error) {
      failure = error
    }
  }
  await pipeline(chunks(), createWriteStream(part, { flags: offset > 0 ? 'a' : 'w' }), { signal })
  return failure
}

function strongEtag(response: Response): string | undefined {
  const etag = response.headers.get('etag')
  return etag?.startsWith('"') ? etag : undefined
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0
}

/** `sha256:<hex>` of a local file. */
export async function digestOf(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash, { signal })
  return `sha256:${hash.digest('hex')}`
}
