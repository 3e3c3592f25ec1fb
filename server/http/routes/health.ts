/** For whoever operates the service. */
import { type AnyRoute, route } from '../route.ts'
import { Health } from '../schemas.ts'

export const healthRoutes: readonly AnyRoute[] = [
  route({
    method: 'get',
    path: '/healthz',
    tag: 'operations',
    summary: 'Whether the process runs',
    responses: { 200: { description: 'it does', schema: Health } },
    open: true,
    handler: async () => ({ status: 200, json: { status: 'ok' }, headers: { 'Cache-Control': 'no-store' } }),
  }),
  route({
    method: 'get',
    path: '/readyz',
    tag: 'operations',
    summary: 'Whether store and index answer',
    responses: { 200: { description: 'they do', schema: Health } },
    errors: ['STORE_UNAVAILABLE', 'STOPPING'],
    open: true,
    async handler({ services }) {
      await services.ready()
      return { status: 200, json: { status: 'ok' }, headers: { 'Cache-Control': 'no-store' } }
    },
  }),
  route({
    method: 'get',
    path: '/metrics',
    tag: 'operations',
    summary: 'Metrics for Prometheus',
    responses: { 200: { description: 'text exposition format', type: 'text/plain' } },
    async handler({ metrics }) {
      const { type, text } = await metrics.page()
      return {
        status: 200,
        headers: { 'Content-Type': type, 'Cache-Control': 'no-store' },
        send: async (response) => void response.end(text),
      }
    },
  }),
]
