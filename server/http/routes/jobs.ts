/** Jobs: state, progress, cancel, results. */
import { z } from 'zod'
import { jobJson } from '../job-json.ts'
import { type AnyRoute, route } from '../route.ts'
import { Job } from '../schemas.ts'
import { fileReply } from '../send-file.ts'
import { sendJobEvents } from '../sse.ts'
import { FILE_RESPONSES } from './repos.ts'

const params = z.strictObject({ id: z.string() })

export const jobRoutes: readonly AnyRoute[] = [
  route({
    method: 'get',
    path: '/v1/jobs/{id}',
    tag: 'jobs',
    summary: 'State, progress and result of a job',
    params,
    responses: { 200: { description: 'the job', schema: Job } },
    errors: ['JOB_NOT_FOUND'],
    async handler({ services, params: { id } }) {
      return { status: 200, json: jobJson(services.jobs.get(id)), headers: { 'Cache-Control': 'no-store' } }
    },
  }),
  route({
    method: 'delete',
    path: '/v1/jobs/{id}',
    tag: 'jobs',
    summary: 'Cancel a job',
    description: 'A running job ends at its next step; its events tell when.',
    params,
    responses: { 202: { description: 'it will end', schema: Job } },
    errors: ['JOB_NOT_FOUND', 'JOB_FINISHED'],
    async handler({ services, params: { id } }) {
      return { status: 202, json: jobJson(services.jobs.cancel(id)) }
    },
  }),
  route({
    method: 'get',
    path: '/v1/jobs/{id}/events',
    tag: 'jobs',
    summary: 'Follow a job',
    description:
      'Server-sent events: the present state first, then every change, until the job has ended. The event is the ' +
      'state, the data the job, the id its version; Last-Event-ID leaves out what the client has seen.',
    params,
    responses: { 200: { description: 'the events', type: 'text/event-stream' } },
    errors: ['JOB_NOT_FOUND'],
    async handler({ services: { jobs }, params: { id }, request }) {
      jobs.get(id)
      const seen = Number(request.get('last-event-id') ?? 0)
      return {
        status: 200,
        headers: { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no' },
        send: (response) => sendJobEvents(jobs, id, Number.isSafeInteger(seen) ? seen : 0, response, jobJson),
      }
    },
  }),
  route({
    method: 'get',
    path: '/v1/jobs/{id}/files/{path+}',
    tag: 'jobs',
    summary: 'A file that a job has made',
    params: params.extend({ path: z.string() }),
    responses: FILE_RESPONSES,
    errors: ['JOB_NOT_FOUND', 'JOB_NOT_READY', 'RESULT_GONE', 'ENTRY_NOT_FOUND', 'RANGE_INVALID'],
    async handler(call) {
      return fileReply(call, await call.services.merges.file(call.params.id, call.params.path))
    },
  }),
]
