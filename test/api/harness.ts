/** An app over memory stores and a temporary spool: the whole service but for the socket. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import type { Express } from 'express'
import supertest from 'supertest'
import { onTestFinished } from 'vitest'
import { inlineExecutor } from '../../compress/executor-inline.ts'
import { openIndex } from '../../registry/open-index.ts'
import { openStore } from '../../registry/open-store.ts'
import { Registry } from '../../registry/registry.ts'
import { createApp } from '../../server/http/app.ts'
import { BlobCache } from '../../server/service/blob-cache.ts'
import { composeServices, type Parts } from '../../server/service/compose.ts'
import { JobStore } from '../../server/service/job-store.ts'
import { type Log, silentLog } from '../../server/service/log.ts'
import { Results } from '../../server/service/results.ts'
import type { Services } from '../../server/service/services.ts'
import { SpoolRoot } from '../../server/service/spool.ts'

export interface Api {
  readonly app: Express
  readonly services: Services
  readonly spools: SpoolRoot
  readonly request: ReturnType<typeof supertest>
  /** All that a refused upload must leave as it was: keys of the store, repos of the index. */
  contents(): Promise<{ keys: string[]; repos: readonly string[] }>
  /** Files and folders of uploads in flight. */
  spooled(): Promise<string[]>
}

/** Quiet, but for faults of the server: a test that meets one should say why. */
const loudLog: Log = {
  ...silentLog,
  error: (fields) => void process.stderr.write(`${inspect(fields, { depth: 4 })}\n`),
}

const MEBIBYTE = 2 ** 20

export async function startApi(overrides: Partial<Parts> = {}): Promise<Api> {
  const dir = await mkdtemp(join(tmpdir(), 'tern-api-'))
  const store = await openStore('memory:')
  const index = await openIndex('sqlite::memory:')
  const registry = new Registry({ store, index })
  const spools = await SpoolRoot.open(join(dir, 'uploads'))
  const jobStore = JobStore.open(':memory:')
  const services = composeServices({
    log: loudLog,
    registry,
    executor: inlineExecutor(),
    spools,
    cache: await BlobCache.open(join(dir, 'blobs'), 64 * MEBIBYTE, registry),
    results: await Results.open(join(dir, 'results'), 64 * MEBIBYTE),
    jobStore,
    parallelJobs: 1,
    parallelUploads: 2,
    adminToken: undefined,
    maxUploadBytes: 64 * MEBIBYTE,
    redirectDownloads: true,
    ...overrides,
  })
  onTestFinished(async () => {
    await services.jobs.stop(AbortSignal.abort())
    jobStore.close()
    await index.close()
    await rm(dir, { recursive: true, force: true })
  })
  const app = createApp(services, { checkReplies: true })
  return {
    app,
    services,
    spools,
    request: supertest(app),
    async contents() {
      const keys: string[] = []
      for await (const { key } of store.list('')) keys.push(key)
      return { keys, repos: await index.repoNames() }
    },
    spooled: () => readdir(join(dir, 'uploads'), { recursive: true }),
  }
}

export interface Part {
  readonly path: string
  readonly bytes: Uint8Array
}

const BOUNDARY = 'tern-test-boundary-7d1c'

export const MULTIPART = `multipart/form-data; boundary=${BOUNDARY}`

/** The body of a form, written by hand: test clients tidy the paths that these tests are about. */
export function multipart(parts: readonly Part[]): Buffer {
  const pieces = parts.flatMap(({ path, bytes }) => [
    Buffer.from(
      `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="${path}"\r\n` +
        'Content-Type: application/octet-stream\r\n\r\n',
    ),
    Buffer.from(bytes),
    Buffer.from('\r\n'),
  ])
  return Buffer.concat([...pieces, Buffer.from(`--${BOUNDARY}--\r\n`)])
}

/** Uploads files; `path` is the call with its query. */
export function upload({ request }: Pick<Api, 'request'>, path: string, parts: readonly Part[]) {
  return request.post(path).set('Content-Type', MULTIPART).send(multipart(parts))
}

/** Downloads bytes, whatever their type. */
export function download({ request }: Pick<Api, 'request'>, path: string) {
  return request
    .get(path)
    .buffer(true)
    .parse((response, done) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => done(null, Buffer.concat(chunks)))
    })
}

/** The job, once it has ended. */
export async function finishedJob({ services }: Api, id: string) {
  return new Promise<ReturnType<Services['jobs']['get']>>((resolve) => {
    const stop = services.jobs.watch(id, (job) => {
      if (job.state === 'queued' || job.state === 'running') return
      queueMicrotask(() => stop())
      resolve(job)
    })
  })
}
