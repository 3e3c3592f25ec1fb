/**
 * Kills the server (SIGKILL) at random moments under upload load, starts it again on the same store, and looks for
 * anything that was acknowledged and is not there. CRASH_KILLS sets how often; `npm run test:crash` does it 200 times.
 */
import { createHash, randomInt } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { type ServerProcess, startServer, tern } from './server-process.ts'
import { stores } from './stores.ts'
import { type TinyFile, tinyAdapter, tinyModel } from './tiny-adapter.ts'

const KILLS = Number(process.env.CRASH_KILLS ?? 8)
/** Uploads under way at any moment. */
const UPLOADERS = 4
/** A server is killed after some acknowledged uploads, fewer than this, and a moment that ends within a publish. */
const MAX_ACKNOWLEDGED = 8
const MAX_MOMENT_MS = 80
/** Few repos, so that uploads meet at the same branch. */
const REPOS = 5

interface Acknowledged {
  readonly type: 'experts' | 'bases'
  readonly repo: string
  readonly revision: string
  /** Stored files and their digests, as the answer told them. */
  readonly files: Readonly<Record<string, string>>
}

let folder = ''
let server: ServerProcess | undefined
afterEach(async () => {
  await server?.kill()
  server = undefined
  if (folder !== '') await rm(folder, { recursive: true, force: true })
})

describe.each(stores)('on $name', (store) => {
  // S3 adds round trips, not other moments: a quarter is enough.
  const kills = store.name === 'a folder' ? KILLS : Math.ceil(KILLS / 4)

  test.skipIf(store.missing)(
    `no acknowledged upload is lost by ${kills} kills under load`,
    async () => {
      folder = await mkdtemp(join(tmpdir(), 'tern-crash-'))
      await killUnderLoad(kills, store.env(folder))
    },
    120_000 + kills * 30_000,
  )
})

async function killUnderLoad(kills: number, env: Record<string, string>): Promise<void> {
  const acknowledged: Acknowledged[] = []
  let checked = 0
  let seed = 0
  let load = Promise.resolve()
  for (let kill = 0; kill < kills; kill += 1) {
    server = await startServer(env)
    await expectCleanSpool()
    for (; checked < acknowledged.length; checked += 1) await expectThere(server.url, acknowledged[checked])
    const enough = acknowledged.length + randomInt(MAX_ACKNOWLEDGED)
    await new Promise<void>((resolve, reject) => {
      load = underLoad(
        server?.url ?? '',
        () => seed++,
        acknowledged,
        () => acknowledged.length >= enough && resolve(),
      )
      load.catch(reject)
    })
    await new Promise((resolve) => setTimeout(resolve, randomInt(MAX_MOMENT_MS)))
    await server.kill()
    await load
  }
  process.stdout.write(`${kills} kills, ${seed} uploads begun, ${acknowledged.length} acknowledged\n`)

  server = await startServer(env)
  for (const one of acknowledged) await expectThere(server.url, one)
  await expectCleanSpool()
  await expectVerified(env)
  // What kills left behind can be removed, and nothing else is.
  const collected = await tern(['gc', '--delete', '--grace-hours', '0', '--json'], env)
  expect(collected, collected.stderr).toMatchObject({ code: 0 })
  for (const one of acknowledged) await expectThere(server.url, one)
  await expectVerified(env)
  const again = await tern(['gc', '--grace-hours', '0', '--json'], env)
  expect(JSON.parse(again.stdout)).toMatchObject({ keys: [], unfinished: [], intents: 0 })
}

async function expectCleanSpool(): Promise<void> {
  expect(await readdir(join(folder, 'spool/uploads')), 'what uploads left in the spool').toEqual([])
}

/** Uploads without a pause until the server is gone. Collects what it acknowledged; `onNews` follows each, and begins. */
async function underLoad(
  url: string,
  nextSeed: () => number,
  acknowledged: Acknowledged[],
  onNews: () => void,
): Promise<void> {
  onNews()
  const upload = async () => {
    for (;;) {
      const seed = nextSeed()
      const type = seed % 4 === 3 ? 'bases' : 'experts'
      const repo = `load/${type}-${seed % REPOS}`
      try {
        const response = await post(
          `${url}/v1/${type}/${repo}/revisions`,
          type === 'bases' ? tinyModel(seed) : tinyAdapter(seed),
        )
        const answer = (await response.json()) as Answer
        // A branch that others keep moving may refuse one of them.
        if (response.status === 409) continue
        expect(response.status, JSON.stringify(answer)).toBe(201)
        acknowledged.push({ type, repo, revision: answer.revision, files: promisedFiles(answer) })
        onNews()
      } catch (error) {
        if (isConnectionError(error)) return
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: UPLOADERS }, upload))
}

function post(url: string, files: readonly TinyFile[]): Promise<Response> {
  const form = new FormData()
  for (const { path, bytes } of files) form.append('file', new Blob([bytes as Uint8Array<ArrayBuffer>]), path)
  return fetch(url, { method: 'POST', body: form })
}

interface Answer {
  readonly revision: string
  /** Of an expert. */
  readonly container?: { readonly digest: string }
  /** Of a base. */
  readonly files?: readonly { readonly path: string; readonly digest: string }[]
}

function promisedFiles(answer: Answer): Record<string, string> {
  if (answer.container) return { 'expert.tern': answer.container.digest }
  return Object.fromEntries((answer.files ?? []).map(({ path, digest }) => [path, digest]))
}

/** fetch wraps what happened to the socket; an assertion that failed is not among it. */
function isConnectionError(error: unknown): boolean {
  return error instanceof TypeError || (error instanceof Error && error.name === 'SocketError')
}

/** The revision is known, and every file of it, stored or made on request, has the digest that it promises. */
async function expectThere(url: string, one: Acknowledged | undefined): Promise<void> {
  if (one === undefined) throw new Error('nothing to check')
  const at = `${url}/v1/${one.type}/${one.repo}/revisions/${one.revision}`
  const response = await fetch(at)
  expect(response.status, `${one.repo}@${one.revision}`).toBe(200)
  const { files, derived } = (await response.json()) as Record<string, { path: string; digest: string }[]>
  const listed = Object.fromEntries((files ?? []).map(({ path, digest }) => [path, digest]))
  expect(listed).toMatchObject(one.files)
  for (const { path, digest } of [...(files ?? []), ...(derived ?? [])]) {
    const body = await (await fetch(`${at}/files/${path}`)).arrayBuffer()
    const found = createHash('sha256').update(new Uint8Array(body)).digest('hex')
    expect(`sha256:${found}`, `${one.repo}@${one.revision} ${path}`).toBe(digest)
  }
}

async function expectVerified(env: Record<string, string>): Promise<void> {
  const { code, stdout, stderr } = await tern(['verify', '--json'], env)
  expect(code, stderr + stdout).toBe(0)
  expect(JSON.parse(stdout).problems).toEqual([])
}
