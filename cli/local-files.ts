/** Files and folders named on the command line. */
import { existsSync } from 'node:fs'
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { CliError } from './errors.ts'

export interface LocalFile {
  /** Path in the repo, with forward slashes. */
  readonly path: string
  /** Path on this machine. */
  readonly source: string
  readonly size: number
}

/** What editors, Python and version control leave in a model folder, and our own half-done downloads. */
const IGNORED = /^(\..*|__pycache__|.*\.part|.*~)$/

/** All files below a folder, sorted by path, without hidden ones. Throws INPUT_NOT_FOUND when there are none. */
export async function listFolder(folder: string): Promise<LocalFile[]> {
  const files = (await walk(folder, '')).sort((a, b) => (a.path < b.path ? -1 : 1))
  if (files.length === 0) throw new CliError('INPUT_NOT_FOUND', `${folder} holds no files`, { path: folder })
  return files
}

async function walk(folder: string, prefix: string): Promise<LocalFile[]> {
  const found: LocalFile[] = []
  for (const entry of await readFolder(folder)) {
    if (IGNORED.test(entry)) continue
    const source = join(folder, entry)
    // Follows links: model caches keep their files as links into a blob folder.
    const info = await stat(source)
    if (info.isDirectory()) found.push(...(await walk(source, `${prefix}${entry}/`)))
    else if (info.isFile()) found.push({ path: prefix + entry, source, size: info.size })
  }
  return found
}

async function readFolder(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    throw new CliError('INPUT_NOT_FOUND', `${folder} is not a readable folder`, { path: folder }, { cause: error })
  }
}

export async function requireFile(path: string): Promise<void> {
  const info = await stat(path).catch(() => undefined)
  if (!info?.isFile()) throw new CliError('INPUT_NOT_FOUND', `${path} is not a file`, { path })
}

/** Refuses to write over what is there, unless forced. */
export function requireAbsent(path: string, force: boolean): void {
  if (!force && existsSync(path)) throw new CliError('OUTPUT_EXISTS', `${path} exists already`, { path })
}

/** Writes through `path + '.part'`, so that a file under its final name is always whole. */
export async function writeWhole<T>(path: string, write: (partPath: string) => Promise<T>): Promise<T> {
  const part = `${path}.part`
  await mkdir(dirname(path), { recursive: true })
  try {
    const result = await write(part)
    await rename(part, path)
    return result
  } catch (error) {
    await rm(part, { force: true })
    throw error
  }
}
