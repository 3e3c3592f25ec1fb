/** The express app: one chain of request log, open routes, caller check, routes, errors. It does not listen. */
import express, { type Express } from 'express'
import { ServerError } from '../service/errors.ts'
import type { Services } from '../service/services.ts'
import { requireCaller } from './auth.ts'
import { answerError } from './errors.ts'
import { createMetrics } from './metrics.ts'
import { logRequests } from './request-log.ts'
import { type AnyRoute, mountRoutes } from './route.ts'
import { baseRoutes } from './routes/bases.ts'
import { docsRoutes } from './routes/docs.ts'
import { expertRoutes } from './routes/experts.ts'
import { healthRoutes } from './routes/health.ts'
import { jobRoutes } from './routes/jobs.ts'
import { mergeRoutes } from './routes/merges.ts'
import { VERSION } from './version.ts'

export interface AppOptions {
  /** Fails answers that are not as documented: for tests. */
  readonly checkReplies?: boolean
  /** Also count memory, CPU and event loop of the process. */
  readonly processMetrics?: boolean
}

/** Every route of the app. */
export const ROUTES: readonly AnyRoute[] = docsRoutes(
  [...expertRoutes, ...baseRoutes, ...mergeRoutes, ...jobRoutes, ...healthRoutes],
  VERSION,
)

export function createApp(
  services: Services,
  { checkReplies = false, processMetrics = false }: AppOptions = {},
): Express {
  const metrics = createMetrics(services.jobs, processMetrics)
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.enable('case sensitive routing')
  app.set('query parser', 'simple')
  app.use(logRequests(services.log, metrics))
  const options = { services, metrics, checkReplies }
  mountRoutes(
    app,
    ROUTES.filter(({ open }) => open === true),
    options,
  )
  app.use(requireCaller(services.adminToken))
  mountRoutes(
    app,
    ROUTES.filter(({ open }) => open !== true),
    options,
  )
  app.use((request) => {
    throw new ServerError('ROUTE_NOT_FOUND', `no call has the path ${request.path.slice(0, 200)}; /docs lists them`)
  })
  app.use(answerError)
  return app
}
