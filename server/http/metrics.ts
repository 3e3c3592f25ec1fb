/** Prometheus metrics, in a registry of their own so that two apps in one process do not count for each other. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Jobs } from '../service/jobs.ts'

export interface Metrics {
  request(method: string, route: string, status: number, seconds: number): void
  bytesIn(count: number): void
  bytesOut(count: number): void
  page(): Promise<{ type: string; text: string }>
}

const SECONDS = [0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300]

/** `ofProcess`: also memory, CPU and event loop, which are one per process, not per app. */
export function createMetrics(jobs: Jobs, ofProcess: boolean): Metrics {
  const registry = new Registry()
  const registers = [registry]
  if (ofProcess) collectDefaultMetrics({ register: registry })
  const requests = new Counter({
    name: 'tern_http_requests_total',
    help: 'Requests answered, by method, route pattern and status.',
    labelNames: ['method', 'route', 'status'] as const,
    registers,
  })
  const durations = new Histogram({
    name: 'tern_http_request_seconds',
    help: 'Seconds from the first byte of a request to the last of its answer.',
    labelNames: ['method', 'route'] as const,
    buckets: SECONDS,
    registers,
  })
  const bytes = new Counter({
    name: 'tern_http_body_bytes_total',
    help: 'Bytes of uploads received and of files sent.',
    labelNames: ['direction'] as const,
    registers,
  })
  new Gauge({
    name: 'tern_jobs',
    help: 'Jobs known, by state.',
    labelNames: ['state'] as const,
    registers,
    collect() {
      for (const [state, count] of Object.entries(jobs.counts())) this.set({ state }, count)
    },
  })
  return {
    request(method, route, status, seconds) {
      requests.inc({ method, route, status: String(status) })
      durations.observe({ method, route }, seconds)
    },
    bytesIn: (count) => bytes.inc({ direction: 'in' }, count),
    bytesOut: (count) => bytes.inc({ direction: 'out' }, count),
    page: async () => ({ type: registry.contentType, text: await registry.metrics() }),
  }
}
