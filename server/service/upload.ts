/** The files of one upload as they arrive: names checked before a byte is written, headers before the rest is read. */
import { checkPath } from '../../registry/names.ts'
import { ServerError } from './errors.ts'
import { headerWatch } from './header-watch.ts'
import type { Spool, SpooledFile } from './spool.ts'

/** Weights that run code when they are loaded: no registry should hand them on. */
const PICKLES = /\.(?:bin|pt|pth|ckpt|pkl|pickle|joblib)$/i
/** Configs are parsed whole in memory; none comes near this. */
const MAX_JSON_BYTES = 64 * 2 ** 20

export interface UploadedFile extends SpooledFile {
  readonly path: string
}

export class Upload {
  readonly #spool: Spool
  readonly #files = new Map<string, UploadedFile>()
  readonly #taken = new Set<string>()

  constructor(spool: Spool) {
    this.#spool = spool
  }

  /** Spools one file. Throws PATH_INVALID, PATH_DUPLICATE, FILE_REFUSED, and SAFETENSORS_INVALID as soon as it shows. */
  async add(path: string, content: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void> {
    checkPath(path)
    if (this.#taken.has(path)) {
      throw new ServerError('PATH_DUPLICATE', `two parts of the upload are called ${JSON.stringify(path)}`, {
        file: path,
      })
    }
    this.#taken.add(path)
    if (PICKLES.test(path)) {
      throw new ServerError('FILE_REFUSED', `${path}: pickled weights are not stored; convert them to safetensors`, {
        file: path,
      })
    }
    const spooled = await this.#spool.receive(content, {
      label: path,
      ...(path.endsWith('.safetensors') && { watch: headerWatch(path) }),
      ...(path.endsWith('.json') && { maxBytes: MAX_JSON_BYTES }),
      ...(signal && { signal }),
    })
    this.#files.set(path, { ...spooled, path })
  }

  /** All files, sorted by path. */
  get files(): UploadedFile[] {
    return [...this.#files.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
  }

  get(path: string): UploadedFile | undefined {
    return this.#files.get(path)
  }
}
