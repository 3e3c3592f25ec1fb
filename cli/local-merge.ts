/** A merge on this machine: the recipe's inputs are paths, the result is a folder. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { MergePlan } from '../merge/plan.ts'
import { planMerge } from '../merge/plan.ts'
import { parseRecipe } from '../merge/recipe.ts'
import { runMerge } from '../merge/run-merge.ts'
import { fileSink } from '../tensors/node/file-source.ts'
import { SafetensorsWriter } from '../tensors/safetensors-writer.ts'
import type { Run } from './context.ts'
import { CliError } from './errors.ts'
import { requireAbsent, writeWhole } from './local-files.ts'
import { LocalInputs } from './local-inputs.ts'
import { copyModelFiles } from './model-files.ts'

export interface LocalMergeResult {
  readonly path: string
  readonly digest: string
  readonly outputKind: 'model' | 'adapter'
  readonly files: readonly string[]
  readonly tensors: number
  readonly warnings: readonly string[]
}

/** Every mistake in the recipe or its inputs is found before anything is written. */
export async function mergeLocally(
  recipePath: string,
  out: string,
  force: boolean,
  run: Run,
): Promise<LocalMergeResult> {
  const recipe = parseRecipe(await readFile(recipePath, 'utf8'), recipePath.endsWith('.json') ? 'json' : 'yaml')
  if (recipe.output.publish !== undefined) {
    throw new CliError('USAGE_INVALID', 'the recipe publishes its result, which takes a server: leave out --local', {})
  }
  const baseRef = recipe.base?.ref.model
  const inputs = new LocalInputs(baseRef, run.signal)
  try {
    const plan = await planMerge(recipe, (ref) => inputs.open(ref), run.signal)
    for (const warning of plan.warnings) run.warn(warning)
    const weights = plan.outputKind === 'adapter' ? 'adapter_model.safetensors' : 'model.safetensors'
    requireAbsent(join(out, weights), force)
    await mkdir(out, { recursive: true })
    await writeWeights(plan, join(out, weights), run)
    const others = await writeOthers(plan, out, baseRef)
    return {
      path: out,
      digest: plan.digest,
      outputKind: plan.outputKind,
      files: [weights, ...others],
      tensors: plan.tensors.length,
      warnings: plan.warnings,
    }
  } finally {
    await inputs.close()
  }
}

async function writeWeights(plan: MergePlan, path: string, run: Run): Promise<void> {
  const progress = run.progress('merge')
  await writeWhole(path, async (part) => {
    const file = await fileSink(part)
    try {
      await runMerge(plan, new SafetensorsWriter(file), { signal: run.signal, onProgress: progress.update })
    } catch (error) {
      await file.abort()
      throw error
    }
  })
  progress.finish()
}

async function writeOthers(plan: MergePlan, out: string, baseRef: string | undefined): Promise<string[]> {
  const files = ['mergekit_config.yml']
  await writeFile(join(out, 'mergekit_config.yml'), plan.mergekitConfig)
  if (plan.adapterConfig) {
    await writeFile(join(out, 'adapter_config.json'), `${JSON.stringify(plan.adapterConfig, null, 2)}\n`)
    return [...files, 'adapter_config.json']
  }
  return baseRef === undefined ? files : [...files, ...(await copyModelFiles(baseRef, out, plan.configPatch))]
}
