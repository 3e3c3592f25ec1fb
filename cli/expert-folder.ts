/** A folder with a fine-tune or a model on this machine, opened for compressing, merging or looking at. */
import { existsSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type AdapterConfig, parseAdapterConfig } from '../tensors/adapter-config.ts'
import { openModelFolder } from '../tensors/node/model-folder.ts'
import type { LocatedSource } from '../tensors/tensor-location.ts'
import { CliError } from './errors.ts'

export interface ExpertFolder {
  readonly kind: 'lora' | 'ia3' | 'full'
  readonly source: LocatedSource
  readonly adapterConfig?: AdapterConfig
}

/** An adapter folder says its kind itself; anything else is a full model. The caller closes the source. */
export async function openExpertFolder(path: string): Promise<ExpertFolder> {
  await requirePath(path)
  const configPath = join(path, 'adapter_config.json')
  if (!existsSync(configPath)) return { kind: 'full', source: await openModelFolder(path) }
  const adapterConfig = parseAdapterConfig(await readFile(configPath, 'utf8'))
  const source = await openModelFolder(path)
  return { kind: adapterConfig.peftType === 'IA3' ? 'ia3' : 'lora', source, adapterConfig }
}

export async function requirePath(path: string): Promise<void> {
  const info = await stat(path).catch(() => undefined)
  if (!info) throw new CliError('INPUT_NOT_FOUND', `${path} does not exist`, { path })
}
