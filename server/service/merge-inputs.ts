/** Opens the names of a recipe from the registry. A path of this machine is never opened: recipes come from strangers. */

import { CodedError } from '../../errors.ts'
import { MergeError } from '../../merge/errors.ts'
import type { MergeInput, OpenInput } from '../../merge/input.ts'
import { parseRepoId } from '../../registry/names.ts'
import type { Registry, Resolved } from '../../registry/registry.ts'
import { parseAdapterConfig } from '../../tensors/adapter-config.ts'
import { baseAnnotations, expertAnnotations } from './annotations.ts'
import { type Models, splitRef, taskVectorOf, weightsOf } from './models.ts'

export interface MergeInputs {
  readonly open: OpenInput
  /** The revisions that were opened, by the name the recipe gave. */
  readonly resolved: ReadonlyMap<string, Resolved>
  /** Closes everything that was opened. */
  close(): Promise<void>
}

/** `pinned`: names resolved before, which keep their revisions although a branch may have moved since. */
export function mergeInputs(
  { registry, models }: { registry: Registry; models: Models },
  signal?: AbortSignal,
  pinned: ReadonlyMap<string, Resolved> = new Map(),
): MergeInputs {
  const resolved = new Map<string, Resolved>()
  const closers: (() => Promise<void>)[] = []
  return {
    resolved,
    async open(ref) {
      const found = pinned.get(ref) ?? (await resolve(registry, ref))
      resolved.set(ref, found)
      const open = found.type === 'base' ? openModel : openExpert
      const { input, close } = await open(models, found, ref, signal)
      closers.push(close)
      return input
    },
    async close() {
      for (const close of closers.splice(0)) await close()
    },
  }
}

const NOT_HERE = new Set(['NAME_INVALID', 'REPO_NOT_FOUND', 'REVISION_NOT_FOUND'])

async function resolve(registry: Registry, ref: string): Promise<Resolved> {
  try {
    const [repo, revision] = splitRef(ref)
    parseRepoId(repo)
    return await registry.resolve(repo, revision)
  } catch (error) {
    if (!(error instanceof CodedError) || !NOT_HERE.has(error.code)) throw error
    const hint = 'inputs are repos of this registry, as namespace/name or namespace/name@revision'
    throw new MergeError('MERGE_INPUT_NOT_FOUND', `'${ref}': ${error.message} (${hint})`, { ref }, { cause: error })
  }
}

interface OpenedInput {
  readonly input: MergeInput
  close(): Promise<void>
}

async function openModel(models: Models, resolved: Resolved, ref: string, signal?: AbortSignal): Promise<OpenedInput> {
  const opened = await models.openBase(resolved, signal)
  const { weights_digest } = baseAnnotations(resolved.manifest)
  const input: MergeInput = {
    ref,
    identity: weights_digest,
    kind: 'model',
    source: opened.value,
    weightsDigest: weights_digest,
  }
  return { input, close: () => opened.close() }
}

async function openExpert(models: Models, resolved: Resolved, ref: string, signal?: AbortSignal): Promise<OpenedInput> {
  const { kind, base } = expertAnnotations(resolved.manifest)
  if (kind === 'ia3') {
    throw new MergeError(
      'MERGE_UNSUPPORTED',
      `'${ref}' is an (IA)3 expert; LoRA experts and full fine-tunes can be merged`,
      {
        ref,
        kind,
      },
    )
  }
  const opened = await models.openExpert(resolved, signal)
  const expert = opened.value
  const common = { ref, identity: expert.containerFile.digest, madeFrom: base?.weights_digest ?? null }
  const config = expert.container.header.adapterConfig
  const input: MergeInput =
    kind === 'lora'
      ? { ...common, kind, source: weightsOf(expert), adapterConfig: parseAdapterConfig(JSON.stringify(config ?? {})) }
      : { ...common, kind: 'task_vector', source: taskVectorOf(expert) }
  return { input, close: () => opened.close() }
}
