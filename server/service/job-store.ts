/**
 * Job rows in SQLite. Disposable: a file that cannot be read is replaced by an empty one. Its exclusive lock also says
 * that one process, this one, owns the state folder (spool, results, cached blobs).
 */
import { rmSync } from 'node:fs'
import Database from 'better-sqlite3'
import { ServerError } from './errors.ts'

export type JobState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled'

export interface JobRow {
  readonly id: string
  readonly kind: 'merge'
  readonly state: JobState
  /** Equal keys ask for equal work: the digest of plan and output. */
  readonly key: string
  readonly done: number
  readonly total: number
  /** Grows by one with every change; the id of the event that tells it. */
  readonly version: number
  readonly created: string
  readonly started: string | null
  readonly finished: string | null
  readonly request: Readonly<Record<string, unknown>>
  readonly result: Readonly<Record<string, unknown>> | null
  readonly error: JobFailure | null
}

export interface JobFailure {
  readonly code: string
  readonly message: string
  readonly detail: Readonly<Record<string, unknown>>
}

const SCHEMA = `
CREATE TABLE IF NOT EXISTS job (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  key TEXT NOT NULL,
  done INTEGER NOT NULL,
  total INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created TEXT NOT NULL,
  started TEXT,
  finished TEXT,
  request TEXT NOT NULL,
  result TEXT,
  error TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS job_key ON job (key, created);
CREATE INDEX IF NOT EXISTS job_created ON job (created);
`

type Raw = { [K in keyof JobRow]: JobRow[K] extends string | number ? JobRow[K] : string | null } & { request: string }

export class JobStore {
  readonly #db: Database.Database

  private constructor(db: Database.Database) {
    this.#db = db
  }

  /** `path` may be `:memory:`. Throws CONFIG_INVALID when another process holds the folder. */
  static open(path: string): JobStore {
    try {
      return new JobStore(openLocked(path))
    } catch (error) {
      const code = (error as { code?: string }).code ?? ''
      if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) {
        throw new ServerError('CONFIG_INVALID', `another server uses ${path}: give this one its own TERN_SPOOL_DIR`, {
          variable: 'TERN_SPOOL_DIR',
        })
      }
      if (code !== 'SQLITE_CORRUPT' && code !== 'SQLITE_NOTADB') throw error
      for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(path + suffix, { force: true })
      return new JobStore(openLocked(path))
    }
  }

  put(job: JobRow): void {
    this.#db
      .prepare(
        `INSERT INTO job (id, kind, state, key, done, total, version, created, started, finished, request, result, error)
         VALUES (@id, @kind, @state, @key, @done, @total, @version, @created, @started, @finished, @request, @result, @error)
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, done = excluded.done, total = excluded.total,
           version = excluded.version, started = excluded.started, finished = excluded.finished,
           result = excluded.result, error = excluded.error`,
      )
      .run({
        ...job,
        request: JSON.stringify(job.request),
        result: job.result === null ? null : JSON.stringify(job.result),
        error: job.error === null ? null : JSON.stringify(job.error),
      })
  }

  get(id: string): JobRow | undefined {
    return this.#rows('SELECT * FROM job WHERE id = ?', id)[0]
  }

  /** The latest job with this key in one of the states. */
  latest(key: string, states: readonly JobState[]): JobRow | undefined {
    const marks = states.map(() => '?').join(', ')
    return this.#rows(
      `SELECT * FROM job WHERE key = ? AND state IN (${marks}) ORDER BY created DESC, rowid DESC LIMIT 1`,
      key,
      ...states,
    )[0]
  }

  /** Jobs that a process left unfinished. */
  unfinished(): JobRow[] {
    return this.#rows("SELECT * FROM job WHERE state IN ('queued', 'running') ORDER BY created")
  }

  countByState(): Record<JobState, number> {
    const counts: Record<JobState, number> = { queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 }
    const rows = this.#db.prepare('SELECT state, count(*) AS n FROM job GROUP BY state').all()
    for (const row of rows as { state: JobState; n: number }[]) counts[row.state] = row.n
    return counts
  }

  /** Keeps the newest rows only, so that the file does not grow for ever. */
  prune(keep: number): void {
    this.#db
      .prepare(
        `DELETE FROM job WHERE state IN ('succeeded', 'failed', 'cancelled')
         AND id NOT IN (SELECT id FROM job ORDER BY created DESC, rowid DESC LIMIT ?)`,
      )
      .run(keep)
  }

  close(): void {
    this.#db.close()
  }

  #rows(sql: string, ...args: unknown[]): JobRow[] {
    return (this.#db.prepare(sql).all(...args) as Raw[]).map(fromRaw)
  }
}

function openLocked(path: string): Database.Database {
  const db = new Database(path, { timeout: 0 })
  try {
    db.pragma('locking_mode = EXCLUSIVE')
    db.exec(`BEGIN IMMEDIATE; ${SCHEMA} COMMIT`)
    // An exclusive lock is taken by the first write and then kept.
    db.exec('BEGIN IMMEDIATE; PRAGMA user_version = 1; COMMIT')
    db.pragma('synchronous = OFF')
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

function fromRaw(row: Raw): JobRow {
  return {
    ...row,
    kind: 'merge',
    state: row.state as JobState,
    request: JSON.parse(row.request),
    result: row.result === null ? null : JSON.parse(row.result),
    error: row.error === null ? null : JSON.parse(row.error),
  }
}
