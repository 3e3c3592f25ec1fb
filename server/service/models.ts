/** Opens what the registry holds as tensors: bases and experts, for compressing, serving and merging alike. */
import { type Container, openContainer } from '../../compress/container-reader.ts'
import { reconstructedSource, taskVectorSource } from '../../compress/reconstruct.ts'
import { CodedError } from '../../errors.ts'
import { findFile, type ManifestFile } from '../../registry/manifest.ts'
import type { Registry, Resolved } from '../../registry/registry.ts'
import type { Dtype } from '../../tensors/dtype.ts'
import { openModelFolder } from '../../tensors/node/model-folder.ts'
import { openSafetensors, openSharded } from '../../tensors/safetensors-reader.ts'
import type { TensorSource } from '../../tensors/tensor.ts'
import type { LocatedSource } from '../../tensors/tensor-location.ts'
import { type BaseRef, baseAnnotations, CONTAINER_PATH, expertAnnotations } from './annotations.ts'
import type { BlobCache, Lease } from './blob-cache.ts'
import { BlobSource } from './blob-source.ts'
import { ServerError } from './errors.ts'
import type { SpoolRoot } from './spool.ts'
import { asOurFault } from './stored-damage.ts'
import { chooseWeights, isIndex, shardsOf } from './weight-files.ts'

/** Something opened; `close` releases files and local copies, and is called on every exit. */
export interface Opened<T> {
  readonly value: T
  close(): Promise<void>
}

export interface OpenedExpert {
  readonly resolved: Resolved
  readonly container: Container
  readonly containerFile: ManifestFile
  /** The base of a full fine-tune. */
  readonly base?: TensorSource
}

export interface WeightsVariant {
  readonly dtype?: Dtype
  /** Factor on every stored magnitude. */
  readonly gain?: number
}

export class Models {
  readonly #registry: Registry
  readonly #cache: BlobCache
  readonly #spools: SpoolRoot

  constructor(o: { registry: Registry; cache: BlobCache; spools: SpoolRoot }) {
    this.#registry = o.registry
    this.#cache = o.cache
    this.#spools = o.spools
  }

  /** A revision of a base. Throws REPO_NOT_FOUND, REVISION_NOT_FOUND; PARAMETER-like errors are the caller's. */
  async resolveBase(ref: string): Promise<Resolved> {
    const [repo = '', revision] = splitRef(ref)
    const resolved = await this.#registry.resolve(repo, revision)
    if (resolved.type !== 'base') {
      throw new ServerError('REQUEST_INVALID', `base: ${repo} is an expert; name the base it was made from`, {
        field: 'base',
      })
    }
    return resolved
  }

  /** The weights of a base, headers first: a tensor is fetched when it is read. */
  async openBase(resolved: Resolved, signal?: AbortSignal): Promise<Opened<TensorSource>> {
    const { main, files } = await this.#weights(resolved, signal)
    if (!isIndex(main.path)) {
      const source = this.#blob(main)
      const file = await orClose(source, () => asOurFault(main.digest, () => openSafetensors(source, signal)))
      return { value: file, close: () => source.close() }
    }
    const byPath = new Map(files.map((file) => [file.path, file]))
    const index = await this.readText(main, signal)
    const open = async (path: string) => this.#blob(byPath.get(path) ?? missing(path))
    const sharded = await asOurFault(main.digest, () => openSharded(index, open))
    return { value: sharded, close: () => sharded.close() }
  }

  /** The weights of a base as local files, for workers. */
  async openBaseLocally(resolved: Resolved, signal?: AbortSignal): Promise<Opened<LocatedSource>> {
    const { main, files } = await this.#weights(resolved, signal)
    const spool = await this.#spools.create()
    const leases: Lease[] = []
    const release = async () => {
      for (const lease of leases) lease.release()
      await spool.discard()
    }
    try {
      const entries = new Map<string, string>()
      for (const file of isIndex(main.path) ? [main, ...files] : [main]) {
        const lease = await this.#cache.lease(file.digest, file.size, signal)
        leases.push(lease)
        entries.set(file.path, lease.path)
      }
      const source = await openModelFolder(await spool.folderOf(entries))
      const close = async () => {
        await source.close?.()
        await release()
      }
      return { value: source, close }
    } catch (error) {
      await release()
      throw error
    }
  }

  /** An expert, with its base where the container needs one. Throws STORED_DAMAGED, BASE_REQUIRED. */
  async openExpert(resolved: Resolved, signal?: AbortSignal): Promise<Opened<OpenedExpert>> {
    const { file } = findFile(resolved.manifest, CONTAINER_PATH)
    const source = this.#blob(file)
    let base: Opened<TensorSource> | undefined
    const close = async () => {
      await base?.close()
      await source.close()
    }
    try {
      const container = await asOurFault(file.digest, () => openContainer(source, signal))
      const { kind, base: baseRef } = expertAnnotations(resolved.manifest)
      if (kind === 'full') base = await this.#openNamedBase(baseRef, signal)
      const opened = { resolved, container, containerFile: file, ...(base && { base: base.value }) }
      return { value: opened, close }
    } catch (error) {
      await close()
      throw error
    }
  }

  /** A small stored file, whole. */
  async readText(file: ManifestFile, signal?: AbortSignal): Promise<string> {
    const bytes = await this.#registry.blobSource(file.digest, file.size).read(0, file.size, signal)
    return new TextDecoder().decode(bytes)
  }

  #blob(file: ManifestFile): BlobSource {
    return new BlobSource(this.#registry, this.#cache, file)
  }

  async #weights({ manifest }: Resolved, signal?: AbortSignal): Promise<{ main: ManifestFile; files: ManifestFile[] }> {
    const paths = manifest.files.map(({ path }) => path)
    const main = findFile(manifest, chooseWeights(paths).main).file
    if (!isIndex(main.path)) return { main, files: [main] }
    const shards = shardsOf(main.path, await this.readText(main, signal), paths)
    return { main, files: shards.map((path) => findFile(manifest, path).file) }
  }

  async #openNamedBase(ref: BaseRef | null, signal?: AbortSignal): Promise<Opened<TensorSource>> {
    if (ref === null) throw new ServerError('STORED_DAMAGED', 'a full fine-tune without a base')
    const resolved = await this.#registry.resolve(ref.repo, ref.revision).catch((error: unknown) => {
      if (!isNotFound(error)) throw error
      throw new ServerError('BASE_GONE', `the base ${ref.repo}@${ref.revision} is not here any more`, { ...ref })
    })
    const { weights_digest } = baseAnnotations(resolved.manifest)
    if (weights_digest !== ref.weights_digest) {
      throw new ServerError('BASE_GONE', `${ref.repo}@${ref.revision} holds other weights than ${ref.weights_digest}`, {
        ...ref,
      })
    }
    return this.openBase(resolved, signal)
  }
}

/** The weights of an expert as an ordinary checkpoint has them. */
export function weightsOf({ container, base }: OpenedExpert, variant: WeightsVariant = {}): TensorSource {
  const source = reconstructedSource(container, {
    ...(base && { base }),
    ...(variant.dtype && { dtype: variant.dtype }),
    ...(variant.gain !== undefined && { gain: variant.gain }),
  })
  return blamingStore(container, source)
}

/** The expert as a difference to its base. */
export function taskVectorOf({ container, base }: OpenedExpert): TensorSource {
  return blamingStore(container, taskVectorSource(container, base ? { base } : {}))
}

/** `namespace/name[@revision]`. */
export function splitRef(ref: string): [repo: string, revision?: string] {
  const at = ref.indexOf('@')
  return at === -1 ? [ref] : [ref.slice(0, at), ref.slice(at + 1)]
}

export function isNotFound(error: unknown): error is CodedError {
  return error instanceof CodedError && (error.code === 'REPO_NOT_FOUND' || error.code === 'REVISION_NOT_FOUND')
}

function blamingStore(container: Container, source: TensorSource): TensorSource {
  const what = `a container of ${container.tensors.length} tensors`
  const { addTo } = source
  return {
    tensors: source.tensors,
    metadata: source.metadata,
    read: (name, signal) => asOurFault(what, () => source.read(name, signal)),
    readBytes: (name, signal) => asOurFault(what, () => source.readBytes(name, signal)),
    ...(addTo && {
      addTo: (name: string, acc: Float32Array, weight: number, signal?: AbortSignal) =>
        asOurFault(what, () => addTo.call(source, name, acc, weight, signal)),
    }),
  }
}

async function orClose<T>(source: BlobSource, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    await source.close()
    throw error
  }
}

function missing(path: string): never {
  throw new ServerError('STORED_DAMAGED', `the base's index names ${path}, which its manifest does not`, { file: path })
}
