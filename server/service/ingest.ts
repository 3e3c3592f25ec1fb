/** Uploads: files in, a published revision out, or nothing at all. Every exit deletes the spool. */

import type { Executor } from '../../compress/executor.ts'
import { type ExpertKind, type RawOptions, resolveOptions } from '../../compress/options.ts'
import type { CompressionReport } from '../../compress/report.ts'
import { RegistryError } from '../../registry/errors.ts'
import type { ManifestFile } from '../../registry/manifest.ts'
import { checkRefName, parseRepoId } from '../../registry/names.ts'
import type { PublishFile } from '../../registry/publish.ts'
import type { Registry, Resolved } from '../../registry/registry.ts'
import { weightsDigest } from '../../tensors/node/weights-digest.ts'
import { elementCount, type TensorInfo } from '../../tensors/tensor.ts'
import {
  type BaseAnnotations,
  baseAnnotations,
  CONTAINER_PATH,
  CONTAINER_TYPE,
  type ExpertAnnotations,
} from './annotations.ts'
import { ServerError } from './errors.ts'
import { derivedPath, openUploaded, readExpert, type UploadedExpert, weightsOf } from './expert-upload.ts'
import type { Gate } from './gate.ts'
import { type MadeContainer, makeContainer } from './make-container.ts'
import { isNotFound, type Models } from './models.ts'
import { mediaTypeOf } from './repo-file.ts'
import { snakeCase } from './snake-case.ts'
import type { Spool, SpoolRoot } from './spool.ts'
import { Upload, type UploadedFile } from './upload.ts'

/** Where a revision goes. */
export interface PublishTarget {
  readonly repo: string
  /** Default `main`. */
  readonly branch?: string | undefined
  readonly tag?: string | undefined
}

export interface ExpertRequest extends PublishTarget {
  readonly kind?: ExpertKind | undefined
  /** `namespace/name[@revision]` */
  readonly base?: string | undefined
  readonly retain?: 'none' | 'original' | undefined
  readonly options: RawOptions
}

/** Puts the files into the upload: from a request body, or from a merge that has just ended. */
export type Fill = (upload: Upload) => Promise<void>

export interface PublishedBase {
  readonly resolved: Resolved
  readonly annotations: BaseAnnotations
}

export interface PublishedExpert {
  readonly resolved: Resolved
  readonly annotations: ExpertAnnotations
  readonly container: ManifestFile
  readonly report: CompressionReport
}

export interface IngestDeps {
  readonly registry: Registry
  readonly spools: SpoolRoot
  readonly models: Models
  readonly executor: Executor
  /** Bounds how many uploads are compressed at once. */
  readonly gate: Gate
}

export class Ingest {
  readonly #deps: IngestDeps

  constructor(deps: IngestDeps) {
    this.#deps = deps
  }

  async base(request: PublishTarget, fill: Fill, signal?: AbortSignal): Promise<PublishedBase> {
    await this.#checkTarget(request, 'base')
    return this.#withUpload(fill, async (upload, spool) => {
      const { weights, adapter } = await weightsOf(upload)
      if (adapter) {
        throw new ServerError('REQUEST_INVALID', 'an adapter is no base: publish it under /v1/experts', {
          field: 'files',
        })
      }
      const annotations = await describeBase(spool, weights, signal)
      const files = upload.files.map(asPublished)
      const resolved = await this.#publish(request, 'base', files, [], annotations, signal)
      return { resolved, annotations }
    })
  }

  /** Everything that can be wrong without the files is refused before `fill` is called. */
  async expert(request: ExpertRequest, fill: Fill, signal?: AbortSignal): Promise<PublishedExpert> {
    resolveOptions(request.kind ?? 'lora', request.options)
    const base = request.base === undefined ? undefined : await this.#resolveBase(request.base)
    await this.#checkTarget(request, 'expert')
    return this.#withUpload(fill, async (upload, spool) => {
      const expert = await readExpert(upload, request.kind)
      const options = resolveOptions(expert.kind, request.options)
      const made = await this.#deps.gate.run(
        () => makeContainer({ ...this.#deps, spool, expert, options, base, ...(signal && { signal }) }),
        signal,
      )
      return this.#publishExpert(request, expert, made, base, signal)
    })
  }

  async #publishExpert(
    request: ExpertRequest,
    expert: UploadedExpert,
    made: MadeContainer,
    base: Resolved | undefined,
    signal?: AbortSignal,
  ): Promise<PublishedExpert> {
    const { container, weights, report, warnings, options } = made
    const annotations: ExpertAnnotations = {
      kind: expert.kind,
      base: base === undefined ? null : baseRef(base),
      options: snakeCase(options) as Record<string, unknown>,
      report: snakeCase(report) as Record<string, unknown>,
      warnings: warnings.map((warning) => ({ ...warning, detail: { ...warning.detail } })),
    }
    const originals = request.retain === 'original' ? expert.weights : []
    const files = [
      asPublished({ ...container, path: CONTAINER_PATH }),
      ...expert.others.map(asPublished),
      ...originals.map((file) => asPublished({ ...file, path: `original/${file.path}` })),
    ]
    const derived = [{ path: derivedPath(expert.kind), ...weights, media_type: mediaTypeOf('.safetensors') }]
    const resolved = await this.#publish(request, 'expert', files, derived, annotations, signal)
    const stored = { path: CONTAINER_PATH, digest: container.digest, size: container.size, media_type: CONTAINER_TYPE }
    return { resolved, annotations, container: stored, report }
  }

  async #publish(
    { repo, branch, tag }: PublishTarget,
    type: 'base' | 'expert',
    files: PublishFile[],
    derived: ManifestFile[],
    annotations: object,
    signal?: AbortSignal,
  ): Promise<Resolved> {
    return this.#deps.registry.publish({
      repo,
      type,
      files,
      derived,
      annotations: annotations as Record<string, unknown>,
      ...(branch !== undefined && { branch }),
      ...(tag !== undefined && { tags: [tag] }),
      ...(signal && { signal }),
    })
  }

  async #withUpload<T>(fill: Fill, use: (upload: Upload, spool: Spool) => Promise<T>): Promise<T> {
    const spool = await this.#deps.spools.create()
    try {
      const upload = new Upload(spool)
      await fill(upload)
      return await use(upload, spool)
    } finally {
      await spool.discard()
    }
  }

  /** The names, and that the repo, where it exists, is of this type: `publish` would say so only after the upload. */
  async #checkTarget({ repo, branch, tag }: PublishTarget, type: 'base' | 'expert'): Promise<void> {
    parseRepoId(repo)
    for (const name of [branch, tag]) if (name !== undefined) checkRefName(name)
    const existing = await this.#deps.registry.repo(repo).catch((error: unknown) => {
      if (isNotFound(error)) return undefined
      throw error
    })
    if (existing === undefined || existing.type === type) return
    throw new RegistryError('REPO_CONFLICT', `${repo} is a repo of type ${existing.type}; choose another name`, {
      repo,
      type: existing.type,
    })
  }

  async #resolveBase(ref: string): Promise<Resolved> {
    try {
      return await this.#deps.models.resolveBase(ref)
    } catch (error) {
      if (!isNotFound(error)) throw error
      throw new ServerError('BASE_UNKNOWN', `base ${ref}: ${error.message}; publish it first`, {
        ...error.detail,
        field: 'base',
      })
    }
  }
}

function baseRef(base: Resolved): NonNullable<ExpertAnnotations['base']> {
  const { weights_digest } = baseAnnotations(base.manifest)
  return { repo: base.repo, revision: base.revision, weights_digest }
}

async function describeBase(
  spool: Spool,
  weights: readonly UploadedFile[],
  signal?: AbortSignal,
): Promise<BaseAnnotations> {
  const source = await openUploaded(spool, weights)
  try {
    const parameters = source.tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0)
    return { weights_digest: await weightsDigest(source, signal), parameters, dtype: mainDtype(source.tensors) }
  } finally {
    await source.close?.()
  }
}

/** The dtype most entries have. */
function mainDtype(tensors: readonly TensorInfo[]): string {
  const counts = new Map<string, number>()
  for (const { dtype, shape } of tensors) counts.set(dtype, (counts.get(dtype) ?? 0) + elementCount(shape))
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0] ?? 'F32'
}

function asPublished({ path, file, digest, size }: UploadedFile): PublishFile {
  return { path, digest, size, media_type: mediaTypeOf(path), body: { path: file, size } }
}
