/** Inputs of a merge that lie on this machine: model folders, adapter folders and .tern files. */
import { createHash } from 'node:crypto'
import { createReadStream, existsSync } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { type Container, openContainer } from '../compress/container-reader.ts'
import { kernels } from '../compress/kernels/default.ts'
import { reconstructedSource, taskVectorSource } from '../compress/reconstruct.ts'
import { MergeError } from '../merge/errors.ts'
import type { MergeInput } from '../merge/input.ts'
import { type AdapterConfig, parseAdapterConfig } from '../tensors/adapter-config.ts'
import { openFileSource } from '../tensors/node/file-source.ts'
import { weightsDigest } from '../tensors/node/weights-digest.ts'
import type { TensorSource } from '../tensors/tensor.ts'
import { openExpertFolder } from './expert-folder.ts'

/** Opens paths of a recipe, and closes all of them at the end. */
export class LocalInputs {
  readonly #baseRef: string | undefined
  readonly #signal: AbortSignal
  readonly #closers: (() => Promise<void> | undefined)[] = []
  #base: Promise<MergeInput> | undefined

  /** `baseRef`: the recipe's base_model, which containers of full fine-tunes are read against. */
  constructor(baseRef: string | undefined, signal: AbortSignal) {
    this.#baseRef = baseRef
    this.#signal = signal
  }

  /** An OpenInput. Throws MERGE_INPUT_NOT_FOUND, and what the readers throw. */
  async open(ref: string): Promise<MergeInput> {
    if (ref === this.#baseRef) {
      this.#base ??= this.#openPath(ref)
      return this.#base
    }
    return this.#openPath(ref)
  }

  async close(): Promise<void> {
    for (const close of this.#closers) await close()
  }

  async #openPath(path: string): Promise<MergeInput> {
    if (!existsSync(path)) {
      const hint = path.includes('@') ? '; revisions (@) are known to a server only' : ''
      throw new MergeError('MERGE_INPUT_NOT_FOUND', `no file or folder ${path}${hint}`, { path })
    }
    return path.endsWith('.tern') ? this.#openTern(path) : this.#openFolder(path)
  }

  async #openFolder(path: string): Promise<MergeInput> {
    const { kind, source, adapterConfig } = await openExpertFolder(path)
    this.#closers.push(() => source.close?.())
    const digest = await weightsDigest(source, this.#signal)
    if (kind === 'full') return { ref: path, identity: digest, kind: 'model', source, weightsDigest: digest }
    return {
      ref: path,
      identity: adapterIdentity(digest, adapterConfig),
      kind: 'lora',
      source,
      ...(adapterConfig && { adapterConfig }),
    }
  }

  async #openTern(path: string): Promise<MergeInput> {
    const file = await openFileSource(path)
    this.#closers.push(() => file.close())
    const container = await openContainer(file)
    const { header } = container
    const common = { ref: path, identity: await fileDigest(path, this.#signal), madeFrom: header.base?.digest ?? null }
    if (header.kind === 'full') {
      return {
        ...common,
        kind: 'task_vector',
        source: taskVectorSource(container, await this.#referenceOf(container)),
      }
    }
    const adapterConfig = parseAdapterConfig(JSON.stringify(header.adapterConfig ?? {}))
    return {
      ...common,
      kind: 'lora',
      source: reconstructedSource(container, { kernels: kernels() }),
      adapterConfig,
    }
  }

  /** The base's tensors, where the recipe has a base; whether it is the right one is for the planner to say. */
  async #referenceOf(container: Container): Promise<{ base?: TensorSource }> {
    if (container.header.base === null || this.#baseRef === undefined) return {}
    return { base: (await this.open(this.#baseRef)).source }
  }
}

/** The configuration decides what the factors mean, so it is part of what the input is. */
function adapterIdentity(digest: string, config: AdapterConfig | undefined): string {
  const hash = createHash('sha256')
  hash.update(digest)
  hash.update(JSON.stringify(config?.raw ?? {}))
  return `sha256:${hash.digest('hex')}`
}

async function fileDigest(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash, { signal })
  return `sha256:${hash.digest('hex')}`
}
