/**
 * Mutual exclusion by a lock file, for replacing one key of the folder store: between processes by the file, within a
 * process by a queue per path. A holder keeps it for the time of a rename, so a lock that is old, or whose process is
 * dead, belongs to a holder that was killed, and is taken over.
 */
import { randomUUID } from 'node:crypto'
import { link, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { RegistryError } from './errors.ts'

const STALE_AFTER_MS = 30_000
const WAIT_AT_MOST_MS = 40_000

/** Last holder in this process, per lock path. */
const queues = new Map<string, Promise<unknown>>()

export async function withLockFile<T>(path: string, action: () => Promise<T>): Promise<T> {
  const before = queues.get(path) ?? Promise.resolve()
  const turn = before.then(() => lockedByFile(path, action))
  const settled = turn.catch(() => undefined)
  queues.set(path, settled)
  try {
    return await turn
  } finally {
    if (queues.get(path) === settled) queues.delete(path)
  }
}

async function lockedByFile<T>(path: string, action: () => Promise<T>): Promise<T> {
  await acquire(path, `${process.pid} ${hostname()}`)
  try {
    return await action()
  } finally {
    await rm(path, { force: true })
  }
}

async function acquire(path: string, owner: string): Promise<void> {
  const giveUpAt = Date.now() + WAIT_AT_MOST_MS
  while (!(await create(path, owner))) {
    if (await isStale(path)) await evict(path)
    else if (Date.now() > giveUpAt)
      throw new RegistryError('STORE_UNAVAILABLE', `lock ${path} is not released`, { path })
    else await delay(2 + Math.random() * 8)
  }
}

async function create(path: string, owner: string): Promise<boolean> {
  try {
    const handle = await open(path, 'wx')
    await handle.writeFile(owner)
    await handle.close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

async function isStale(path: string): Promise<boolean> {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(path, 'utf8'), stat(path)])
    if (Date.now() - mtimeMs > STALE_AFTER_MS) return true
    const [pid, host] = text.split(' ')
    // Process ids of another machine or container say nothing here.
    if (host !== hostname()) return false
    // The queue lets one holder of this process in at a time: a lock with our id is that of a dead namesake.
    return Number(pid) === process.pid || !isAlive(Number(pid))
  } catch {
    return false
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** Of several who find a lock stale, the rename lets one through. A fresh lock moved by mistake is put back. */
async function evict(path: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`
  try {
    await rename(path, aside)
  } catch {
    return
  }
  if (!(await isStale(aside))) await link(aside, path).catch(() => undefined)
  await rm(aside, { force: true })
}
