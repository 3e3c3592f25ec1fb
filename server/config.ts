/** The whole configuration: environment variables named TERN_*, checked once at start. */
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { ServerError } from './service/errors.ts'

export interface Config {
  readonly storeUrl: string
  readonly indexUrl: string
  readonly host: string
  readonly port: number
  readonly adminToken: string | undefined
  readonly maxUploadBytes: number
  readonly spoolDir: string
  readonly cacheBytes: number
  readonly workers: number
  readonly parallelJobs: number
  readonly redirectDownloads: boolean
  readonly stopSeconds: number
  readonly logLevel: string
}

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }
/** Short tokens can be guessed; a token this long, made at random, cannot. */
const MIN_TOKEN_CHARS = 16

const size = z
  .string()
  .regex(/^\d+(?:[KMGT]i?B?)?$/, 'must be bytes, or a number with KiB, MiB, GiB or TiB')
  .transform((text) => {
    const [, digits = '0', unit = ''] = /^(\d+)([KMGT]?)/.exec(text) ?? []
    return Number(digits) * (UNITS[unit] ?? 1)
  })
  .pipe(z.number().min(1).max(Number.MAX_SAFE_INTEGER))

const whole = (min: number, max: number) =>
  z.string().regex(/^\d+$/, 'must be a whole number').transform(Number).pipe(z.number().min(min).max(max))

/** Every key, its meaning (shown by `tern serve --help` and in errors) and its rule. */
const KEYS = {
  TERN_STORE_URL: z
    .string()
    .regex(/^(file:.+|memory:|s3:\/\/.+)$/, 'must be file:PATH, memory: or s3://BUCKET/PREFIX')
    .default('file:./tern-data')
    .describe('where blobs, manifests and refs live: file:PATH, s3://BUCKET/PREFIX?endpoint=URL, memory:'),
  TERN_INDEX_URL: z
    .string()
    .regex(/^sqlite:.+$/, 'must be sqlite:PATH or sqlite::memory:')
    .optional()
    .describe('the index, rebuilt from the store by "tern reindex"; default: index.db in the folder of a file: store'),
  TERN_HOST: z.string().min(1).default('127.0.0.1').describe('address to listen on; others than loopback need a token'),
  TERN_PORT: whole(0, 65535).default(8420).describe('port to listen on; 0 takes a free one'),
  TERN_ADMIN_TOKEN: z
    .string()
    .min(MIN_TOKEN_CHARS, `must have at least ${MIN_TOKEN_CHARS} characters`)
    .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces')
    .optional()
    .describe('bearer token that every call of /v1 and /metrics must carry; unset: open, loopback only'),
  TERN_MAX_UPLOAD_BYTES: size.default(64 * 2 ** 30).describe('largest request body, e.g. 64GiB'),
  TERN_SPOOL_DIR: z
    .string()
    .min(1)
    .optional()
    .describe('uploads in flight, job results, cached bases; default: spool in the folder of a file: store'),
  TERN_CACHE_BYTES: size.default(32 * 2 ** 30).describe('bound on cached base files, and on kept job results'),
  TERN_WORKERS: whole(1, 256).optional().describe('threads that compress; default: one per core'),
  TERN_PARALLEL_JOBS: whole(1, 64).default(1).describe('merges that run at once; the rest wait in the queue'),
  TERN_REDIRECT_DOWNLOADS: z
    .enum(['true', 'false'])
    .transform((text) => text === 'true')
    .default(true)
    .describe('answer downloads by a redirect to a signed URL of the store where it can make one'),
  TERN_STOP_SECONDS: whole(0, 3600).default(20).describe('how long a stop waits for running work before it aborts it'),
  TERN_LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info')
    .describe('least severe level that is logged'),
}

/** Variables of the command line client and of the tests: no concern of the server, and no mistake either. */
const FOREIGN = new Set(['TERN_URL', 'TERN_TOKEN', 'TERN_FIXTURES'])
const schema = z.object(KEYS)

/** Reads TERN_* from `env`. Throws CONFIG_INVALID, which names every wrong variable at once. */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const given = Object.entries(env).filter(([key, value]) => key.startsWith('TERN_') && value !== undefined)
  const unknown = given.map(([key]) => key).filter((key) => !(key in KEYS) && !FOREIGN.has(key))
  if (unknown.length > 0) {
    throw new ServerError(
      'CONFIG_INVALID',
      `unknown variable ${unknown.join(', ')}; known are ${Object.keys(KEYS).join(', ')}`,
      { unknown, known: Object.keys(KEYS) },
    )
  }
  const parsed = schema.safeParse(Object.fromEntries(given))
  if (!parsed.success) {
    const issues = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
    throw new ServerError('CONFIG_INVALID', issues.join('; '), { issues })
  }
  return checked(fromValues(parsed.data))
}

function fromValues(v: z.output<typeof schema>): Config {
  const folder = v.TERN_STORE_URL.startsWith('file:') ? v.TERN_STORE_URL.slice('file:'.length) : './tern-data'
  return {
    storeUrl: v.TERN_STORE_URL,
    indexUrl: v.TERN_INDEX_URL ?? `sqlite:${join(folder.replace(/^\/\//, ''), 'index.db')}`,
    host: v.TERN_HOST,
    port: v.TERN_PORT,
    adminToken: v.TERN_ADMIN_TOKEN,
    maxUploadBytes: v.TERN_MAX_UPLOAD_BYTES,
    spoolDir: v.TERN_SPOOL_DIR ?? join(folder.replace(/^\/\//, ''), 'spool'),
    cacheBytes: v.TERN_CACHE_BYTES,
    workers: v.TERN_WORKERS ?? availableParallelism(),
    parallelJobs: v.TERN_PARALLEL_JOBS,
    redirectDownloads: v.TERN_REDIRECT_DOWNLOADS,
    stopSeconds: v.TERN_STOP_SECONDS,
    logLevel: v.TERN_LOG_LEVEL,
  }
}

/** Without a token everyone who can connect is the administrator, so only this machine may connect. */
function checked(config: Config): Config {
  if (config.adminToken === undefined && !isLoopback(config.host)) {
    throw new ServerError(
      'CONFIG_INVALID',
      `TERN_HOST=${config.host} can be reached from other machines: set TERN_ADMIN_TOKEN, or listen on 127.0.0.1`,
      { variable: 'TERN_HOST', host: config.host },
    )
  }
  return config
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(host)
}

/** One line per variable, for `tern serve --help`. */
export function configHelp(): string {
  return Object.entries(KEYS)
    .map(([key, rule]) => `${key}\n    ${rule.description ?? ''}`)
    .join('\n')
}
