/** Files that jobs have made, one folder per plan, so that the same request finds them again. Bounded by age of use. */

import { randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, digestHex } from '../../registry/digest.ts'
import { RegistryError } from '../../registry/errors.ts'
import { ServerError } from './errors.ts'
import type { ServedFile } from './served-file.ts'
import type { SpooledFile } from './spool.ts'

/** What the folder holds, and when it was last asked for. */
const LIST = 'files.json'
const READ_BYTES = 2 ** 20

export interface ResultFile {
  readonly path: string
  readonly digest: Digest
  readonly size: number
  readonly media_type: string
}

export interface Result {
  readonly files: readonly ResultFile[]
  readonly report: Readonly<Record<string, unknown>>
}

export class Results {
  readonly #dir: string
  readonly #maxBytes: number

  private constructor(dir: string, maxBytes: number) {
    this.#dir = dir
    this.#maxBytes = maxBytes
  }

  static async open(dir: string, maxBytes: number): Promise<Results> {
    await mkdir(dir, { recursive: true })
    for (const name of await readdir(dir)) {
      if (!/^[0-9a-f]{64}$/.test(name)) await rm(join(dir, name), { recursive: true, force: true })
    }
    return new Results(dir, maxBytes)
  }

  /** What a plan made, if it is still here; using it keeps it longer. */
  async find(plan: Digest): Promise<Result | undefined> {
    const list = join(this.#folder(plan), LIST)
    const text = await readFile(list, 'utf8').catch(() => undefined)
    if (text === undefined) return undefined
    const now = new Date()
    await utimes(list, now, now).catch(() => {})
    return JSON.parse(text) as Result
  }

  /** Moves spooled files in, under one name each; whole or not at all. */
  async keep(
    plan: Digest,
    files: readonly (SpooledFile & { path: string; media_type: string })[],
    report: Readonly<Record<string, unknown>>,
  ): Promise<Result> {
    const temp = join(this.#dir, `tmp-${randomBytes(8).toString('hex')}`)
    await mkdir(temp)
    const listed = files.map(({ path, digest, size, media_type }) => ({ path, digest, size, media_type }))
    const result = { files: listed, report }
    try {
      for (const [index, { file }] of files.entries()) await rename(file, join(temp, String(index)))
      await writeFile(join(temp, LIST), JSON.stringify(result))
      await this.#place(temp, plan)
    } finally {
      await rm(temp, { recursive: true, force: true })
    }
    await this.#makeRoom(digestHex(plan))
    return result
  }

  /** Throws ENTRY_NOT_FOUND; RESULT_GONE when the result has made room for others. */
  async serve(plan: Digest, path: string): Promise<ServedFile> {
    const result = await this.find(plan)
    if (result === undefined) {
      throw new ServerError('RESULT_GONE', 'the result was removed to make room: submit the recipe again', { path })
    }
    const index = result.files.findIndex((file) => file.path === path)
    const file = result.files[index]
    if (file === undefined) {
      const names = result.files.map((f) => f.path)
      throw new RegistryError('ENTRY_NOT_FOUND', `the job made ${names.join(', ')}, not ${JSON.stringify(path)}`, {
        path,
      })
    }
    const stored = join(this.#folder(plan), String(index))
    return {
      fileName: path.slice(path.lastIndexOf('/') + 1),
      mediaType: file.media_type,
      size: file.size,
      tag: file.digest,
      immutable: false,
      async *stream(start, end, signal) {
        if (start === end) return
        yield* createReadStream(stored, { start, end: end - 1, highWaterMark: READ_BYTES, signal })
      },
    }
  }

  /** The local path of a result's file. */
  pathOf(plan: Digest, index: number): string {
    return join(this.#folder(plan), String(index))
  }

  /** One plan gives one result: where it is there already, made meanwhile by another job, that one stays. */
  async #place(temp: string, plan: Digest): Promise<void> {
    try {
      await rename(temp, this.#folder(plan))
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error
    }
  }

  #folder(plan: Digest): string {
    return join(this.#dir, digestHex(plan))
  }

  /** Removes the results that were used longest ago until the sum fits; never the one just made. */
  async #makeRoom(newest: string): Promise<void> {
    const kept: { name: string; size: number; used: number }[] = []
    for (const name of await readdir(this.#dir)) {
      const list = join(this.#dir, name, LIST)
      const found = await stat(list).catch(() => undefined)
      if (found === undefined) continue
      const { files } = JSON.parse(await readFile(list, 'utf8')) as Result
      kept.push({ name, size: files.reduce((sum, file) => sum + file.size, 0), used: found.mtimeMs })
    }
    let total = kept.reduce((sum, { size }) => sum + size, 0)
    for (const { name, size } of kept.sort((a, b) => a.used - b.used)) {
      if (total <= this.#maxBytes) return
      if (name === newest) continue
      await rm(join(this.#dir, name), { recursive: true, force: true })
      total -= size
    }
  }
}
