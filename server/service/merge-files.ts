/** What a merge job leaves: the weights, and the small files that make a folder of them loadable. */

import { patchConfigJson } from '../../merge/output-files.ts'
import type { MergePlan } from '../../merge/plan.ts'
import { runMerge } from '../../merge/run-merge.ts'
import { DigestHasher } from '../../registry/digest.ts'
import type { ManifestFile } from '../../registry/manifest.ts'
import type { Resolved } from '../../registry/registry.ts'
import { fileSink } from '../../tensors/node/file-source.ts'
import { type ByteSink, SafetensorsWriter } from '../../tensors/safetensors-writer.ts'
import { CONFIG_PATH } from './annotations.ts'
import type { JobContext } from './jobs.ts'
import type { Planned } from './merges.ts'
import type { Models } from './models.ts'
import { mediaTypeOf } from './repo-file.ts'
import { snakeCase } from './snake-case.ts'
import type { Spool, SpooledFile } from './spool.ts'

/** Files of the base that a merged model keeps; anything larger is no config or tokenizer. */
const MAX_SIDE_FILE = 64 * 2 ** 20
const SIDE_FILES =
  /^(?:config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|preprocessor_config|chat_template)\.(?:json|txt|jinja)$|^(?:merges\.txt|tokenizer\.model|spiece\.model|sentencepiece\.bpe\.model)$/

export interface MergedFile extends SpooledFile {
  readonly path: string
  readonly media_type: string
}

export interface MergeOutcome {
  readonly files: readonly MergedFile[]
  readonly report: Readonly<Record<string, unknown>>
}

export function weightsPath({ outputKind }: MergePlan): string {
  return outputKind === 'adapter' ? 'adapter_model.safetensors' : 'model.safetensors'
}

export async function makeMergeFiles(
  models: Models,
  { plan, resolved }: Planned,
  spool: Spool,
  context: JobContext,
): Promise<MergeOutcome> {
  const { weights, report } = await writeWeights(plan, spool, context)
  const text = (path: string, content: string) => spoolText(spool, path, content)
  const files = [weights, await text('mergekit_config.yml', plan.mergekitConfig)]
  if (plan.adapterConfig !== undefined) {
    files.push(await text(CONFIG_PATH, `${JSON.stringify(plan.adapterConfig, null, 2)}\n`))
  }
  for (const file of sideFilesOf(plan, resolved)) {
    const content = await models.readText(file, context.signal)
    files.push(
      await text(file.path, file.path === 'config.json' ? patchConfigJson(content, plan.configPatch) : content),
    )
  }
  return { files, report: snakeCase(report) as Record<string, unknown> }
}

async function writeWeights(plan: MergePlan, spool: Spool, { signal, progress }: JobContext) {
  const file = spool.nextPath()
  const sink = await fileSink(file)
  const hasher = new DigestHasher()
  const hashing: ByteSink = {
    async write(bytes) {
      hasher.update(bytes)
      await sink.write(bytes)
    },
    end: () => sink.end(),
  }
  try {
    const report = await runMerge(plan, new SafetensorsWriter(hashing), { signal, onProgress: progress })
    const path = weightsPath(plan)
    const weights = { file, path, size: hasher.size, digest: hasher.digest(), media_type: mediaTypeOf(path) }
    return { weights, report }
  } catch (error) {
    await sink.abort().catch(() => {})
    throw error
  }
}

/** Config and tokenizer of the base, or without one of the first model that the recipe lists. */
function sideFilesOf(plan: MergePlan, resolved: ReadonlyMap<string, Resolved>): readonly ManifestFile[] {
  if (plan.outputKind !== 'model') return []
  const { base, inputs } = plan.recipe
  const named = base ?? inputs[0]
  const manifest = named === undefined ? undefined : resolved.get(named.ref.model)?.manifest
  return (manifest?.files ?? []).filter(({ path, size }) => SIDE_FILES.test(path) && size <= MAX_SIDE_FILE)
}

async function spoolText(spool: Spool, path: string, content: string): Promise<MergedFile> {
  const bytes = new TextEncoder().encode(content)
  const stream = (async function* () {
    yield bytes
  })()
  return { ...(await spool.receive(stream)), path, media_type: mediaTypeOf(path) }
}
