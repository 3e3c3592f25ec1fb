import type { RequestListener } from 'node:http'
import { afterEach, expect, test } from 'vitest'
import type { ApiTarget } from '../../../cli/api-client.ts'
import type { Run } from '../../../cli/context.ts'
import { followJob } from '../../../cli/jobs.ts'
import { type LocalServer, startServer } from './local-server.ts'

let server: LocalServer | undefined
afterEach(async () => {
  await server?.close()
  server = undefined
})

const job = (state: string, more: object = {}) => ({ id: 'job_1', state, progress: { done: 1, total: 4 }, ...more })
const succeeded = job('succeeded', {
  result: { files: [{ path: 'model.safetensors', digest: 'sha256:aa' }], warnings: ['careful'], published: null },
})

function runOf(target: ApiTarget, seen: number[][] = []): Run {
  return {
    signal: target.signal,
    env: {},
    server: target,
    progress: () => ({ update: (done, total) => seen.push([done, total]), finish() {} }),
    print() {},
    warn() {},
  }
}

const event = (body: object) => `event: state\ndata: ${JSON.stringify(body)}\n\n`

/** Answers the event stream with `events`, the job itself with `state`. */
function serveJob(events: string[], state: object, calls: string[] = []): RequestListener {
  return (request, response) => {
    calls.push(`${request.method} ${request.url}`)
    if (request.url?.endsWith('/events')) response.end(events.shift() ?? '')
    else response.end(JSON.stringify(state))
  }
}

test('shows progress and answers with the files and warnings of the result', async () => {
  server = await startServer(serveJob([event(job('running')) + event(succeeded)], succeeded))
  const seen: number[][] = []
  const finished = await followJob(job('queued'), runOf(server.target, seen))
  expect(finished).toMatchObject({
    id: 'job_1',
    files: [{ path: 'model.safetensors', digest: 'sha256:aa' }],
    warnings: ['careful'],
  })
  expect(seen[0]).toEqual([1, 4])
})

test('asks nobody about a job that had ended when it was submitted', async () => {
  const calls: string[] = []
  server = await startServer(serveJob([], succeeded, calls))
  await followJob(succeeded, runOf(server.target))
  expect(calls).toEqual([])
})

test('follows again when the stream of events ends before the job', async () => {
  const calls: string[] = []
  const more = job('running', { progress: { done: 2, total: 4 } })
  server = await startServer(serveJob([event(job('running')), event(succeeded)], more, calls))
  await followJob(job('queued'), runOf(server.target))
  expect(calls).toEqual(['GET /v1/jobs/job_1/events', 'GET /v1/jobs/job_1', 'GET /v1/jobs/job_1/events'])
})

test('hands on why a job failed', async () => {
  const failed = job('failed', { error: { code: 'NOT_FINITE', message: 'tensor x has NaN', detail: {} } })
  server = await startServer(serveJob([event(failed)], failed))
  await expect(followJob(job('queued'), runOf(server.target))).rejects.toMatchObject({
    code: 'JOB_FAILED',
    message: expect.stringContaining('NOT_FINITE: tensor x has NaN'),
  })
})

test('says so when someone else cancelled the job', async () => {
  server = await startServer(serveJob([event(job('cancelled'))], job('cancelled')))
  await expect(followJob(job('queued'), runOf(server.target))).rejects.toMatchObject({ code: 'JOB_CANCELLED' })
})

test('cancels the job when the command is stopped', async () => {
  const stop = new AbortController()
  const calls: string[] = []
  server = await startServer((request, response) => {
    calls.push(`${request.method} ${request.url}`)
    if (request.method === 'DELETE') response.end(JSON.stringify(job('cancelled')))
    else {
      response.write(event(job('running')))
      stop.abort(new DOMException('stopped', 'AbortError'))
    }
  })
  await expect(followJob(job('queued'), runOf({ ...server.target, signal: stop.signal }))).rejects.toThrow('stopped')
  expect(calls).toContain('DELETE /v1/jobs/job_1')
})

test('gives up on a job that never has news', async () => {
  server = await startServer(serveJob([], job('running')))
  await expect(followJob(job('running'), runOf(server.target))).rejects.toMatchObject({
    message: 'no news of job job_1',
  })
})
