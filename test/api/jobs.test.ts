import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ServerError } from '../../server/service/errors.ts'
import type { JobContext } from '../../server/service/jobs.ts'
import { type Api, finishedJob, startApi } from './harness.ts'

/** A job that runs until the test lets it end, or aborts it. */
function heldJob({ services }: Api, key = 'held') {
  let context: JobContext | undefined
  let finish: (result: Record<string, unknown>) => void = () => {}
  const row = services.jobs.submit({
    key,
    request: {},
    run: (given) => {
      context = given
      return new Promise((resolve, reject) => {
        finish = resolve
        given.signal.addEventListener('abort', () => reject(given.signal.reason))
      })
    },
  })
  return {
    id: row.id,
    progress: (done: number, total: number) => context?.progress(done, total),
    finish: () => finish(RESULT),
  }
}

const RESULT = { files: [], report: {}, warnings: [], published: null }

interface Event {
  id: number
  event: string
  data: { state: string; progress: { done: number; total: number } }
}

/** Opens the event stream on a real socket; `next` waits for the next event, undefined at the end. */
async function follow({ app }: Api, id: string, headers: Record<string, string> = {}) {
  const server = createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const response = await fetch(`http://127.0.0.1:${port}/v1/jobs/${id}/events`, { headers })
  const reader = (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  const next = async (): Promise<Event | undefined> => {
    for (;;) {
      const end = text.indexOf('\n\n')
      if (end >= 0) {
        const block = text.slice(0, end)
        text = text.slice(end + 2)
        const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? ''
        return { id: Number(field('id')), event: field('event'), data: JSON.parse(field('data')) }
      }
      const { done, value } = await reader.read()
      if (done) return undefined
      text += value
    }
  }
  return { response, next, cancel: () => reader.cancel() }
}

describe('the events of a job', () => {
  test('begin with its present state and end with its last', async () => {
    const api = await startApi()
    const job = heldJob(api)
    const { response, next } = await follow(api, job.id)
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    expect(await next()).toMatchObject({ event: 'running', data: { state: 'running' } })
    job.progress(3, 10)
    expect(await next()).toMatchObject({ event: 'running', data: { progress: { done: 3, total: 10 } } })
    job.finish()
    expect(await next()).toMatchObject({ event: 'succeeded', data: { progress: { done: 10, total: 10 } } })
    expect(await next()).toBeUndefined()
  })

  test('of a job that has ended are its last state alone', async () => {
    const api = await startApi()
    const job = heldJob(api)
    job.finish()
    await finishedJob(api, job.id)
    const { next } = await follow(api, job.id)
    expect(await next()).toMatchObject({ event: 'succeeded' })
    expect(await next()).toBeUndefined()
  })

  test('do not repeat what Last-Event-ID names', async () => {
    const api = await startApi()
    const job = heldJob(api)
    const first = await follow(api, job.id)
    const seen = (await first.next())?.id ?? 0
    await first.cancel()
    const second = await follow(api, job.id, { 'Last-Event-ID': String(seen) })
    job.finish()
    expect(await second.next()).toMatchObject({ id: seen + 1, event: 'succeeded' })
  })

  test('grow in their ids', async () => {
    const api = await startApi()
    const job = heldJob(api)
    const { next } = await follow(api, job.id)
    const ids = [(await next())?.id]
    job.progress(5, 5)
    ids.push((await next())?.id)
    job.finish()
    ids.push((await next())?.id)
    expect(ids).toEqual([...ids].sort((a, b) => (a ?? 0) - (b ?? 0)))
    expect(new Set(ids).size).toBe(3)
  })

  test('of a job that does not exist are not found', async () => {
    const api = await startApi()
    const { body } = await api.request.get('/v1/jobs/job_none/events').expect(404)
    expect(body.error).toMatchObject({ code: 'JOB_NOT_FOUND', detail: { job: 'job_none' } })
  })
})

describe('a job', () => {
  test('waits while another one runs', async () => {
    const api = await startApi()
    const first = heldJob(api, 'a')
    const second = heldJob(api, 'b')
    expect((await api.request.get(`/v1/jobs/${second.id}`).expect(200)).body.state).toBe('queued')
    first.finish()
    await finishedJob(api, first.id)
    expect(api.services.jobs.get(second.id).state).toBe('running')
    second.finish()
    expect(await finishedJob(api, second.id)).toMatchObject({ state: 'succeeded' })
  })

  test('is joined by a second request for the same work', async () => {
    const api = await startApi()
    const first = heldJob(api)
    expect(heldJob(api).id).toBe(first.id)
    first.finish()
  })

  test('that runs ends when it is cancelled', async () => {
    const api = await startApi()
    const job = heldJob(api)
    await api.request.delete(`/v1/jobs/${job.id}`).expect(202)
    expect(await finishedJob(api, job.id)).toMatchObject({ state: 'cancelled', error: { code: 'CANCELLED' } })
  })

  test('that waits never runs once it is cancelled', async () => {
    const api = await startApi()
    const first = heldJob(api, 'a')
    const second = heldJob(api, 'b')
    const { body } = await api.request.delete(`/v1/jobs/${second.id}`).expect(202)
    expect(body).toMatchObject({ state: 'cancelled', started: null })
    first.finish()
    await finishedJob(api, first.id)
    expect(api.services.jobs.get(second.id).state).toBe('cancelled')
  })

  test('that has ended cannot be cancelled', async () => {
    const api = await startApi()
    const job = heldJob(api)
    job.finish()
    await finishedJob(api, job.id)
    const { body } = await api.request.delete(`/v1/jobs/${job.id}`).expect(409)
    expect(body.error.code).toBe('JOB_FINISHED')
  })

  test('that fails says why by the code of the failure', async () => {
    const api = await startApi()
    const failure = new ServerError('STORED_DAMAGED', 'blob x is damaged', { digest: 'x' })
    const { id } = api.services.jobs.submit({ key: 'k', request: {}, run: () => Promise.reject(failure) })
    await finishedJob(api, id)
    const { body } = await api.request.get(`/v1/jobs/${id}`).expect(200)
    expect(body).toMatchObject({
      state: 'failed',
      error: { code: 'STORED_DAMAGED', message: 'blob x is damaged', detail: { digest: 'x' } },
    })
  })

  test('cut off by a stop is failed, and new ones are refused', async () => {
    const api = await startApi()
    const job = heldJob(api, 'a')
    await api.services.jobs.stop(AbortSignal.abort())
    expect(api.services.jobs.get(job.id)).toMatchObject({ state: 'failed', error: { code: 'STOPPING' } })
    expect(() => heldJob(api, 'b')).toThrow(expect.objectContaining({ code: 'STOPPING' }))
  })
})
