/** The heart of an upload: weights to container, and the digest of what the container gives back. */
import { compressExpert } from '../../compress/compressor.ts'
import { openContainer } from '../../compress/container-reader.ts'
import type { Executor } from '../../compress/executor.ts'
import { filePayload } from '../../compress/node/file-payload.ts'
import type { CompressOptions } from '../../compress/options.ts'
import { reconstructedSource } from '../../compress/reconstruct.ts'
import type { CompressionReport } from '../../compress/report.ts'
import { type Digest, sha256OfStream } from '../../registry/digest.ts'
import type { Resolved } from '../../registry/registry.ts'
import { openFileSource } from '../../tensors/node/file-source.ts'
import { safetensorsView } from '../../tensors/safetensors-view.ts'
import type { TensorSource } from '../../tensors/tensor.ts'
import type { LocatedSource } from '../../tensors/tensor-location.ts'
import { checkAdapterFits } from './adapter-fits.ts'
import { baseAnnotations } from './annotations.ts'
import { openUploaded, type UploadedExpert } from './expert-upload.ts'
import type { Models, Opened } from './models.ts'
import type { Spool, SpooledFile } from './spool.ts'

export interface ContainerWork {
  readonly models: Models
  readonly executor: Executor
  readonly spool: Spool
  readonly expert: UploadedExpert
  readonly options: CompressOptions
  readonly base: Resolved | undefined
  readonly signal?: AbortSignal
}

export interface MadeContainer {
  readonly container: SpooledFile
  /** The file of reconstructed weights, which is nowhere stored. */
  readonly weights: { readonly digest: Digest; readonly size: number }
  readonly options: CompressOptions
  readonly report: CompressionReport
  readonly warnings: readonly {
    readonly code: string
    readonly message: string
    readonly detail: Readonly<Record<string, unknown>>
  }[]
}

/** Throws what compressExpert throws. Files are left to the spool's owner. */
export async function makeContainer(work: ContainerWork): Promise<MadeContainer> {
  const { spool, expert, base, models, signal } = work
  const source = await openUploaded(spool, expert.weights)
  let opened: Opened<LocatedSource> | undefined
  try {
    if (base !== undefined && expert.kind === 'full') opened = await models.openBaseLocally(base, signal)
    if (base !== undefined && expert.kind !== 'full') await checkFits(work, base, source)
    const { container, ...result } = await compress(work, source, opened?.value)
    const weights = await hashWeights(container, opened?.value, work)
    return { container, weights, options: work.options, ...result }
  } finally {
    await opened?.close()
    await source.close?.()
  }
}

async function compress(
  { spool, expert, options, base, executor, signal }: ContainerWork,
  source: LocatedSource,
  baseSource: LocatedSource | undefined,
): Promise<Pick<MadeContainer, 'container' | 'report' | 'warnings'>> {
  const payload = await filePayload(spool.nextPath())
  try {
    const compressed = await compressExpert(
      {
        kind: expert.kind,
        source,
        ...(expert.adapterConfig && { adapterConfig: expert.adapterConfig }),
        ...(base && {
          base: {
            ...(baseSource && { source: baseSource }),
            digest: baseAnnotations(base.manifest).weights_digest,
            repo: base.repo,
            revision: base.revision,
          },
        }),
      },
      options,
      { executor, spool: payload, ...(signal && { signal }) },
    )
    const container = await spool.receive(compressed.stream(), signal ? { signal } : {})
    return { container, report: compressed.report, warnings: compressed.warnings }
  } finally {
    await payload.close()
  }
}

/** Streams the reconstruction once through a hash: its digest and size are promised to every later download. */
async function hashWeights(
  container: SpooledFile,
  base: TensorSource | undefined,
  { signal }: ContainerWork,
): Promise<{ digest: Digest; size: number }> {
  const file = await openFileSource(container.file)
  try {
    const opened = await openContainer(file, signal)
    const source = reconstructedSource(opened, base ? { base } : {})
    const view = safetensorsView(source)
    return await sha256OfStream(view.stream(0, view.size, signal), signal)
  } finally {
    await file.close()
  }
}

/** An adapter's base is only recorded, but a wrong one shows in the shapes: headers are enough to refuse it. */
async function checkFits(
  { expert, models, signal }: ContainerWork,
  base: Resolved,
  source: TensorSource,
): Promise<void> {
  const opened = await models.openBase(base, signal)
  try {
    checkAdapterFits(expert, source.tensors, { ref: `${base.repo}@${base.revision}`, tensors: opened.value.tensors })
  } finally {
    await opened.close()
  }
}
