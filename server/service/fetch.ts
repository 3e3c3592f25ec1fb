/** Downloads: stored files as they lie, reconstructed weights as virtual files, single tensors. */
import { createHash } from 'node:crypto'
import { containerPrefix } from '../../compress/container-prefix.ts'
import { CompressError } from '../../compress/errors.ts'
import { type Digest, isDigest, isRevision } from '../../registry/digest.ts'
import { findFile, type ManifestFile, type RepoType } from '../../registry/manifest.ts'
import type { Registry, Resolved } from '../../registry/registry.ts'
import type { ByteSource } from '../../tensors/byte-source.ts'
import { TensorError } from '../../tensors/errors.ts'
import { safetensorsView } from '../../tensors/safetensors-view.ts'
import type { TensorSource } from '../../tensors/tensor.ts'
import { CONTAINER_PATH } from './annotations.ts'
import { type Models, type Opened, type WeightsVariant, weightsOf } from './models.ts'
import { BYTES } from './repo-file.ts'
import { requireType } from './repo-type.ts'
import type { ServedFile } from './served-file.ts'
import { streamAsOurFault } from './stored-damage.ts'

export interface FileRequest {
  readonly repo: string
  readonly ref: string
  /** A repo of the other type is not found. */
  readonly type: RepoType
  readonly variant: WeightsVariant
}

export class Fetch {
  readonly #registry: Registry
  readonly #models: Models

  constructor(o: { registry: Registry; models: Models }) {
    this.#registry = o.registry
    this.#models = o.models
  }

  /** Throws REPO_NOT_FOUND, REVISION_NOT_FOUND, ENTRY_NOT_FOUND; PARAMETER_INVALID for a variant of a stored file. */
  async file(request: FileRequest, path: string, signal?: AbortSignal): Promise<ServedFile> {
    const resolved = await this.#resolve(request)
    const { file, derived } = findFile(resolved.manifest, path)
    if (derived) return this.#reconstructed(resolved, request, file, signal)
    checkPlain(request.variant, path)
    return this.#stored(resolved, request, file)
  }

  /** `layers`: only the first so many layers of trits. Throws PARAMETER_INVALID where there are not as many. */
  async container(request: FileRequest, layers?: number, signal?: AbortSignal): Promise<ServedFile> {
    const whole = await this.file(request, CONTAINER_PATH, signal)
    return layers === undefined ? whole : firstLayers(whole, layers, signal)
  }

  /** One tensor as a safetensors file. Throws TENSOR_NOT_FOUND and what `file` throws. */
  async tensor(request: FileRequest, name: string, signal?: AbortSignal): Promise<ServedFile> {
    const resolved = await this.#resolve(request)
    if (resolved.type === 'base') checkPlain(request.variant, 'the weights of a base')
    const opened = await this.#weights(resolved, request.variant, signal)
    return this.#virtual(resolved, request, opened, {
      fileName: `${name}.safetensors`,
      tag: variantTag(['tensor', resolved.digest, name], request.variant),
      only: name,
    })
  }

  async #resolve({ repo, ref, type }: FileRequest): Promise<Resolved> {
    return requireType(await this.#registry.resolve(repo, ref), type)
  }

  #stored(resolved: Resolved, request: FileRequest, file: ManifestFile): ServedFile {
    const { digest, size } = file
    const registry = this.#registry
    return {
      ...identity(resolved, request),
      fileName: baseName(file.path),
      mediaType: file.media_type,
      size,
      tag: digest,
      async *stream(start, end, signal) {
        if (start === end) return
        yield* streamAsOurFault(`${resolved.repo}: ${file.path}`, () =>
          registry.openBlob(digest, { start, end }, signal),
        )
      },
      signedUrl: () => registry.signedUrl(digest, baseName(file.path)),
    }
  }

  async #reconstructed(
    resolved: Resolved,
    request: FileRequest,
    file: ManifestFile,
    signal?: AbortSignal,
  ): Promise<ServedFile> {
    const opened = await this.#weights(resolved, request.variant, signal)
    const { variant } = request
    const plain = variant.dtype === undefined && variant.gain === undefined
    const served = await this.#virtual(resolved, request, opened, {
      fileName: baseName(file.path),
      tag: plain ? file.digest : variantTag(['weights', file.digest], variant),
    })
    if (!plain || served.size === file.size) return served
    await served.close?.()
    throw new Error(
      `${resolved.repo}@${resolved.revision}: ${file.path} has ${served.size} bytes, published were ${file.size}`,
    )
  }

  async #weights(resolved: Resolved, variant: WeightsVariant, signal?: AbortSignal): Promise<Opened<TensorSource>> {
    if (resolved.type === 'base') return this.#models.openBase(resolved, signal)
    const opened = await this.#models.openExpert(resolved, signal)
    return { value: weightsOf(opened.value, variant), close: () => opened.close() }
  }

  async #virtual(
    resolved: Resolved,
    request: FileRequest,
    { value, close }: Opened<TensorSource>,
    o: { fileName: string; tag: Digest; only?: string },
  ): Promise<ServedFile> {
    try {
      const view = safetensorsView(o.only === undefined ? value : onlyTensor(value, o.only))
      return {
        ...identity(resolved, request),
        fileName: o.fileName,
        mediaType: BYTES,
        size: view.size,
        tag: o.tag,
        stream: (start, end, signal) => view.stream(start, end, signal),
        close,
      }
    } catch (error) {
      await close()
      throw error
    }
  }
}

/** The container's beginning under a head of its own; its tag follows from the whole and the number of layers. */
async function firstLayers(whole: ServedFile, layers: number, signal?: AbortSignal): Promise<ServedFile> {
  const { size, head, payload } = await containerPrefix(sourceOf(whole), layers, signal)
  const { signedUrl: _whole, ...common } = whole
  return {
    ...common,
    size,
    tag: `sha256:${createHash('sha256').update(`layers\0${whole.tag}\0${layers}`).digest('hex')}`,
    async *stream(start, end, signal) {
      if (start < head.length) yield head.subarray(start, Math.min(end, head.length))
      const from = payload.start + Math.max(0, start - head.length)
      const to = payload.start + end - head.length
      if (from < to) yield* whole.stream(from, to, signal)
    },
  }
}

function sourceOf(file: ServedFile): ByteSource {
  return {
    size: file.size,
    async read(start, end, signal) {
      const bytes = new Uint8Array(end - start)
      let at = 0
      for await (const piece of file.stream(start, end, signal ?? new AbortController().signal)) {
        bytes.set(piece, at)
        at += piece.length
      }
      return bytes
    },
  }
}

function identity({ revision }: Resolved, { ref }: FileRequest): Pick<ServedFile, 'revision' | 'immutable'> {
  return { revision, immutable: isRevision(ref) || isDigest(ref) }
}

/** A tag of its own for every variant: it follows from the file and what was asked, so nothing need be decoded. */
function variantTag(parts: readonly string[], { dtype, gain }: WeightsVariant): Digest {
  const text = [...parts, dtype ?? '', gain === undefined ? '' : String(gain)].join('\0')
  return `sha256:${createHash('sha256').update(text).digest('hex')}`
}

function checkPlain({ dtype, gain }: WeightsVariant, what: string): void {
  const given = dtype !== undefined ? 'dtype' : gain !== undefined ? 'gain' : undefined
  if (given === undefined) return
  throw new CompressError(
    'PARAMETER_INVALID',
    `${given} applies to reconstructed weights; ${what} is served as stored`,
    {
      parameter: given,
    },
  )
}

function onlyTensor(source: TensorSource, name: string): TensorSource {
  const info = source.tensors.find((tensor) => tensor.name === name)
  if (info === undefined) {
    throw new TensorError('TENSOR_NOT_FOUND', `there is no tensor ${JSON.stringify(name)}`, { tensor: name })
  }
  return {
    tensors: [info],
    metadata: source.metadata,
    read: (n, signal) => source.read(n, signal),
    readBytes: (n, signal) => source.readBytes(n, signal),
  }
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
