/** Talks to a Tern server: where it is, retries while it is busy, its errors as CodedErrors. Knows no route. */
import { setTimeout as delay } from 'node:timers/promises'
import { ApiError, CliError } from './errors.ts'

export interface ApiTarget {
  /** Origin and optional path prefix, without a slash at the end. */
  readonly url: string
  readonly token: string | undefined
  readonly signal: AbortSignal
}

export interface ApiRequest {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly redirect?: 'follow' | 'manual'
}

export interface JsonAnswer {
  readonly status: number
  readonly body: unknown
}

const ATTEMPTS = 5
const FIRST_WAIT_MS = 250
/** A server may ask for more patience than a person at a prompt has. */
const MAX_WAIT_MS = 10_000
/** An error body is a few lines; anything longer is not ours. */
const MAX_ERROR_BYTES = 1 << 20

/** Checks and tidies a server URL. Throws USAGE_INVALID. */
export function apiTarget(url: string, token: string | undefined, signal: AbortSignal): ApiTarget {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (!parsed || !/^https?:$/.test(parsed.protocol)) {
    throw new CliError('USAGE_INVALID', `server URL "${url}" is not of the form http://host:port`, { url })
  }
  return { url: parsed.href.replace(/\/+$/, ''), token, signal }
}

export function apiHeaders(target: ApiTarget, extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  return { ...(target.token ? { authorization: `Bearer ${target.token}` } : {}), ...extra }
}

/** A request whose answer has status < 400, its body unread. Retries 503 and 429 as long as the server asks for it. */
export async function apiFetch(target: ApiTarget, path: string, request: ApiRequest = {}): Promise<Response> {
  for (let attempt = 1; ; attempt += 1) {
    const response = await fetchOnce(target, path, request)
    if (response.status < 400) return response
    if (!isBusy(response.status) || attempt === ATTEMPTS) {
      throw apiError(response.status, (await response.text()).slice(0, MAX_ERROR_BYTES))
    }
    await response.body?.cancel()
    await waitBeforeRetry(response.headers.get('retry-after'), attempt, target.signal)
  }
}

export async function apiJson(target: ApiTarget, path: string, request: ApiRequest = {}): Promise<JsonAnswer> {
  const response = await apiFetch(target, path, request)
  const text = await response.text()
  return { status: response.status, body: text === '' ? undefined : parseJson(text, response.status) }
}

/** Runs `send` again while it fails with a busy status. For requests that fetch cannot make. */
export async function retryBusy<T>(signal: AbortSignal, send: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await send()
    } catch (error) {
      if (!(error instanceof ApiError) || !isBusy(error.status) || attempt === ATTEMPTS) throw error
      const asked = error.detail.retry_after
      await waitBeforeRetry(typeof asked === 'string' ? asked : null, attempt, signal)
    }
  }
}

/** The error that an answer of status >= 400 stands for; SERVER_ANSWER_INVALID when it is not in Tern's form. */
export function apiError(status: number, text: string, detail: Record<string, unknown> = {}): ApiError {
  const body = text.trimStart().startsWith('{') ? tryParse(text) : undefined
  const error = isRecord(body) ? body.error : undefined
  if (!isRecord(error) || typeof error.code !== 'string' || typeof error.message !== 'string') {
    const start = text.slice(0, 200).replaceAll(/\s+/g, ' ')
    return new ApiError(status, 'SERVER_ANSWER_INVALID', `status ${status}, and not in Tern's form: ${start}`, detail)
  }
  const own = isRecord(error.detail) ? error.detail : {}
  return new ApiError(status, error.code, error.message, { ...own, ...detail })
}

export function unreachable(target: ApiTarget, cause: unknown): Error {
  if (target.signal.aborted) return target.signal.reason instanceof Error ? target.signal.reason : new Error('aborted')
  return new CliError('SERVER_UNREACHABLE', `${target.url}: ${rootMessage(cause)}`, { url: target.url }, { cause })
}

export function parseJson(text: string, status: number): unknown {
  const value = tryParse(text)
  if (value === undefined) throw apiError(status, text)
  return value
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

async function fetchOnce(target: ApiTarget, path: string, request: ApiRequest): Promise<Response> {
  try {
    return await fetch(target.url + path, {
      method: request.method ?? 'GET',
      headers: apiHeaders(target, request.headers),
      redirect: request.redirect ?? 'follow',
      signal: target.signal,
      ...(request.body === undefined ? {} : { body: request.body }),
    })
  } catch (error) {
    throw unreachable(target, error)
  }
}

function isBusy(status: number): boolean {
  return status === 503 || status === 429
}

async function waitBeforeRetry(retryAfter: string | null, attempt: number, signal: AbortSignal): Promise<void> {
  const asked = retryAfter !== null && /^\d+$/.test(retryAfter) ? Number(retryAfter) * 1000 : undefined
  await delay(Math.min(asked ?? FIRST_WAIT_MS * 2 ** (attempt - 1), MAX_WAIT_MS), undefined, { signal })
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** fetch says "fetch failed"; what happened is in the cause of the cause. */
function rootMessage(error: unknown): string {
  let current = error
  while (current instanceof Error && current.cause instanceof Error) current = current.cause
  if (!(current instanceof Error)) return String(current)
  return current.message || ('code' in current ? String(current.code) : current.name)
}
