/**
 * The registry's index in SQLite. Every change is one synchronous transaction; nothing is awaited inside. WAL with
 * full sync: what was answered survives a power cut.
 */
import Database from 'better-sqlite3'
import { type Digest, isDigest, revisionOf } from './digest.ts'
import { RegistryError } from './errors.ts'
import type {
  IndexedRef,
  IndexedRepo,
  IndexedRevision,
  Intent,
  RegistryIndex,
  RepoPage,
  RepoQuery,
  RepoSnapshot,
  RepoSummary,
  RevisionSummary,
  SnapshotOptions,
  SnapshotRevision,
} from './index.ts'
import type { Manifest, RepoType } from './manifest.ts'
import { foldRepoId, type RepoId } from './names.ts'

/** One entry per schema version, applied in order; PRAGMA user_version says how many a file has. */
const MIGRATIONS = [
  `CREATE TABLE repos (
     id       INTEGER PRIMARY KEY,
     folded   TEXT NOT NULL UNIQUE,      -- the name in lower case: what makes two repos the same
     repo     TEXT NOT NULL,
     type     TEXT NOT NULL,
     version  INTEGER NOT NULL,
     head     TEXT NOT NULL,             -- digest of the revision that lists and searches show
     created  INTEGER NOT NULL,          -- all times in ms since 1970
     updated  INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE refs (
     repo_id  INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE,
     kind     TEXT NOT NULL,
     name     TEXT NOT NULL,
     digest   TEXT NOT NULL,
     updated  INTEGER NOT NULL,
     PRIMARY KEY (repo_id, kind, name)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE revisions (
     sequence INTEGER PRIMARY KEY AUTOINCREMENT,
     repo_id  INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE,
     digest   TEXT NOT NULL,
     revision TEXT NOT NULL,
     parent   TEXT,
     kind     TEXT,
     base     TEXT,
     size     INTEGER NOT NULL,
     files    INTEGER NOT NULL,
     manifest TEXT NOT NULL,
     created  INTEGER NOT NULL,
     UNIQUE (repo_id, digest)
   ) STRICT;
   CREATE INDEX revisions_by_revision ON revisions (repo_id, revision);
   CREATE TABLE intents (
     id       TEXT PRIMARY KEY,
     owner    TEXT NOT NULL,
     repo     TEXT NOT NULL,
     folded   TEXT NOT NULL,
     digests  TEXT NOT NULL,             -- JSON array of digests
     started  INTEGER NOT NULL
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX intents_by_repo ON intents (folded);`,
]

const DEFAULT_LIMIT = 50
/** A page is held in memory and sent whole. */
const MAX_LIMIT = 500
/** How long to wait for another process that is writing. */
const BUSY_TIMEOUT_MS = 10_000

interface RepoRow {
  id: number
  repo: string
  type: RepoType
  version: number
  created: number
  updated: number
}
interface RefRow {
  kind: 'branch' | 'tag'
  name: string
  digest: Digest
  updated: number
}
interface RevisionRow {
  repo: string
  digest: Digest
  manifest: string
  created: number
}

type RepoListRow = Omit<RepoSummary, 'created' | 'updated' | 'revision'> & { created: number; updated: number }

/** `path` of the file, whose folder exists, or `:memory:`. Throws INDEX_UNAVAILABLE. */
export function openSqliteIndex(path: string): SqliteIndex {
  let db: Database.Database | undefined
  try {
    db = new Database(path, { timeout: BUSY_TIMEOUT_MS })
    db.pragma('journal_mode = WAL')
    db.pragma('synchronous = FULL')
    db.pragma('foreign_keys = ON')
    migrate(db)
    return new SqliteIndex(db)
  } catch (cause) {
    db?.close()
    if (cause instanceof RegistryError) throw cause
    const reason = (cause as Error).message
    throw new RegistryError('INDEX_UNAVAILABLE', `the index ${path} cannot be opened: ${reason}`, { path }, { cause })
  }
}

function migrate(db: Database.Database): void {
  const upgrade = db.transaction(() => {
    const version = db.pragma('user_version', { simple: true }) as number
    if (version > MIGRATIONS.length) {
      const message = `the index has schema ${version}, this version of Tern knows ${MIGRATIONS.length}: use a newer one`
      throw new RegistryError('INDEX_UNAVAILABLE', message, { version, known: MIGRATIONS.length })
    }
    for (const statements of MIGRATIONS.slice(version)) db.exec(statements)
    db.pragma(`user_version = ${MIGRATIONS.length}`)
  })
  upgrade.immediate()
}

export class SqliteIndex implements RegistryIndex {
  readonly #db: Database.Database

  constructor(db: Database.Database) {
    this.#db = db
  }

  putRepo(snapshot: RepoSnapshot, options: SnapshotOptions = {}): void {
    this.#transaction(() => {
      const id = this.#upsertRepo(snapshot, options.rebuild === true)
      if (options.rebuild === true) this.#run('DELETE FROM revisions WHERE repo_id = ?', id)
      for (const revision of snapshot.revisions) this.#insertRevision(id, revision)
      if (options.prune === true) this.#prune(id)
      if (options.finishedIntent !== undefined) this.dropIntent(options.finishedIntent)
    })
  }

  removeRepo(repo: RepoId, version: number, finishedIntent?: string): void {
    this.#transaction(() => {
      this.#run('DELETE FROM repos WHERE folded = ? AND version <= ?', foldRepoId(repo), version)
      if (finishedIntent !== undefined) this.dropIntent(finishedIntent)
    })
  }

  findRepo(repo: RepoId): IndexedRepo | undefined {
    return this.#transaction(() => {
      const row = this.#repoRow(repo)
      if (row === undefined || row.repo !== repo) return undefined
      const refs = this.#all<RefRow>(
        'SELECT kind, name, digest, updated FROM refs WHERE repo_id = ? ORDER BY kind, name',
        row.id,
      )
      const { type, version } = row
      const times = { created: new Date(row.created), updated: new Date(row.updated) }
      return { repo, type, version, ...times, refs: refs.map((ref) => ({ ...ref, updated: new Date(ref.updated) })) }
    })
  }

  findRevision(repo: RepoId, id: Digest | string): IndexedRevision | undefined {
    const column = isDigest(id) ? 'digest' : 'revision'
    const row = this.#get<RevisionRow>(
      `SELECT r.repo, v.digest, v.manifest, v.created FROM revisions v JOIN repos r ON r.id = v.repo_id
       WHERE r.folded = ? AND v.${column} = ?`,
      foldRepoId(repo),
      id,
    )
    return row?.repo === repo ? revisionOfRow(row) : undefined
  }

  listRevisions(repo: RepoId, limit: number): readonly RevisionSummary[] {
    const rows = this.#all<Omit<RevisionSummary, 'created'> & { created: number }>(
      `SELECT v.revision, v.digest, v.parent, v.created, v.size
       FROM revisions v JOIN repos r ON r.id = v.repo_id WHERE r.folded = ? ORDER BY v.sequence DESC LIMIT ?`,
      foldRepoId(repo),
      limit,
    )
    return rows.map((row) => ({ ...row, created: new Date(row.created) }))
  }

  listRepos(query: RepoQuery): RepoPage {
    const limit = Math.max(1, Math.min(query.limit ?? DEFAULT_LIMIT, MAX_LIMIT))
    const rows = this.#all<RepoListRow>(
      `SELECT r.repo, r.type, r.head AS digest, v.kind, v.base, coalesce(v.size, 0) AS size,
              coalesce(v.files, 0) AS files, r.created, r.updated
       FROM repos r LEFT JOIN revisions v ON v.repo_id = r.id AND v.digest = r.head
       WHERE r.folded > :after
         AND (:type IS NULL OR r.type = :type)
         AND (:search IS NULL OR instr(r.folded, :search) > 0)
         AND (:base IS NULL OR v.base = :base)
         AND (:kind IS NULL OR v.kind = :kind)
       ORDER BY r.folded LIMIT :limit`,
      {
        after: query.cursor === undefined ? '' : decodeCursor(query.cursor),
        type: query.type ?? null,
        search: query.search?.toLowerCase() ?? null,
        base: query.base ?? null,
        kind: query.kind ?? null,
        limit: limit + 1,
      },
    )
    const repos = rows.slice(0, limit).map((row) => ({
      ...row,
      revision: revisionOf(row.digest),
      created: new Date(row.created),
      updated: new Date(row.updated),
    }))
    const last = repos.at(-1)
    return rows.length > limit && last !== undefined ? { repos, next: encodeCursor(last.repo) } : { repos }
  }

  repoNames(): readonly RepoId[] {
    return this.#all<{ repo: string }>('SELECT repo FROM repos ORDER BY folded').map((row) => row.repo)
  }

  putIntent(intent: Intent): void {
    const { id, owner, repo, digests, started } = intent
    this.#run(
      'INSERT OR REPLACE INTO intents (id, owner, repo, folded, digests, started) VALUES (?, ?, ?, ?, ?, ?)',
      id,
      owner,
      repo,
      foldRepoId(repo),
      JSON.stringify(digests),
      started.getTime(),
    )
  }

  dropIntent(id: string): void {
    this.#run('DELETE FROM intents WHERE id = ?', id)
  }

  listIntents(repo?: RepoId): readonly Intent[] {
    const rows = this.#all<{ id: string; owner: string; repo: string; digests: string; started: number }>(
      `SELECT id, owner, repo, digests, started FROM intents WHERE :folded IS NULL OR folded = :folded ORDER BY started, id`,
      { folded: repo === undefined ? null : foldRepoId(repo) },
    )
    return rows.map((row) => ({ ...row, digests: JSON.parse(row.digests) as Digest[], started: new Date(row.started) }))
  }

  lastSequence(): number {
    return this.#get<{ last: number }>('SELECT coalesce(max(sequence), 0) AS last FROM revisions')?.last ?? 0
  }

  revisionsSince(sequence: number): readonly IndexedRevision[] {
    const rows = this.#all<RevisionRow>(
      `SELECT r.repo, v.digest, v.manifest, v.created FROM revisions v JOIN repos r ON r.id = v.repo_id
       WHERE v.sequence > ? ORDER BY v.sequence`,
      sequence,
    )
    return rows.map(revisionOfRow)
  }

  close(): void {
    this.#db.close()
  }

  /** The row's id. An older snapshot leaves the row and the refs as they are. */
  #upsertRepo(snapshot: RepoSnapshot, force: boolean): number {
    const present = this.#repoRow(snapshot.repo)
    if (present !== undefined && present.version > snapshot.version && !force) return present.id
    const updated = Math.max(snapshot.created.getTime(), ...snapshot.refs.map((ref) => ref.updated.getTime()))
    const row = this.#get<{ id: number }>(
      `INSERT INTO repos (folded, repo, type, version, head, created, updated) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (folded) DO UPDATE SET repo = excluded.repo, type = excluded.type, version = excluded.version,
         head = excluded.head, created = excluded.created, updated = excluded.updated
       RETURNING id`,
      foldRepoId(snapshot.repo),
      snapshot.repo,
      snapshot.type,
      snapshot.version,
      headOf(snapshot.refs),
      snapshot.created.getTime(),
      updated,
    )
    if (row === undefined) throw new Error('the upsert of a repo returned no row')
    this.#run('DELETE FROM refs WHERE repo_id = ?', row.id)
    for (const { kind, name, digest, updated: at } of snapshot.refs) {
      this.#run(
        'INSERT INTO refs (repo_id, kind, name, digest, updated) VALUES (?, ?, ?, ?, ?)',
        row.id,
        kind,
        name,
        digest,
        at.getTime(),
      )
    }
    return row.id
  }

  #insertRevision(repoId: number, { digest, manifest, created }: SnapshotRevision): void {
    this.#run(
      `INSERT INTO revisions (repo_id, digest, revision, parent, kind, base, size, files, manifest, created)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (repo_id, digest) DO NOTHING`,
      repoId,
      digest,
      revisionOf(digest),
      manifest.parent,
      kindOf(manifest),
      baseOf(manifest),
      manifest.files.reduce((sum, file) => sum + file.size, 0),
      manifest.files.length,
      JSON.stringify(manifest),
      created.getTime(),
    )
  }

  #prune(repoId: number): void {
    this.#run(
      `DELETE FROM revisions WHERE repo_id = :id AND digest NOT IN (
         WITH RECURSIVE reachable (digest) AS (
           SELECT digest FROM refs WHERE repo_id = :id
           UNION
           SELECT v.parent FROM revisions v JOIN reachable USING (digest) WHERE v.repo_id = :id AND v.parent IS NOT NULL
         )
         SELECT digest FROM reachable)`,
      { id: repoId },
    )
  }

  #repoRow(repo: RepoId): RepoRow | undefined {
    return this.#get<RepoRow>('SELECT * FROM repos WHERE folded = ?', foldRepoId(repo))
  }

  #transaction<T>(action: () => T): T {
    return guarded(() => this.#db.transaction(action).immediate())
  }

  #run(sql: string, ...values: unknown[]): void {
    guarded(() => this.#db.prepare(sql).run(...values))
  }

  #get<T>(sql: string, ...values: unknown[]): T | undefined {
    return guarded(() => this.#db.prepare<unknown[], T>(sql).get(...values))
  }

  #all<T>(sql: string, ...values: unknown[]): T[] {
    return guarded(() => this.#db.prepare<unknown[], T>(sql).all(...values))
  }
}

/** What the machine refuses (a full disk, a lock held for long) is INDEX_UNAVAILABLE; the rest is a bug of ours. */
function guarded<T>(action: () => T): T {
  try {
    return action()
  } catch (cause) {
    const code = (cause as { code?: unknown }).code
    if (typeof code !== 'string' || !/^SQLITE_(BUSY|LOCKED|FULL|IOERR|CANTOPEN|READONLY|CORRUPT|NOTADB)/.test(code))
      throw cause
    const message = `the index failed: ${(cause as Error).message} (${code})`
    throw new RegistryError('INDEX_UNAVAILABLE', message, { code }, { cause })
  }
}

function headOf(refs: readonly IndexedRef[]): Digest {
  const branches = refs.filter((ref) => ref.kind === 'branch')
  const head = branches.find((ref) => ref.name === 'main') ?? branches[0]
  if (head === undefined) throw new Error('a repo without a branch does not exist')
  return head.digest
}

/** The two annotations that lists are filtered by. */
function kindOf({ annotations }: Manifest): string | null {
  const { kind } = annotations
  return typeof kind === 'string' ? kind : null
}

function baseOf({ annotations }: Manifest): string | null {
  const repo = (annotations['base'] as { repo?: unknown } | null | undefined)?.repo
  return typeof repo === 'string' ? repo : null
}

function revisionOfRow(row: RevisionRow): IndexedRevision {
  const { repo, digest, created } = row
  return { repo, digest, manifest: JSON.parse(row.manifest) as Manifest, created: new Date(created) }
}

function encodeCursor(repo: RepoId): string {
  return Buffer.from(foldRepoId(repo), 'utf8').toString('base64url')
}

function decodeCursor(cursor: string): string {
  const folded = Buffer.from(cursor, 'base64url').toString('utf8')
  if (cursor.length <= 400 && encodeCursor(folded) === cursor) return folded
  throw new RegistryError('CURSOR_INVALID', 'the cursor is not one that a page of this list ended with', {})
}
