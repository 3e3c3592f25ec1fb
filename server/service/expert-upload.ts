/** Reads an upload as an expert: its kind, its weights, its adapter config. */
import { readFile } from 'node:fs/promises'
import { CompressError } from '../../compress/errors.ts'
import type { ExpertKind } from '../../compress/options.ts'
import { type AdapterConfig, parseAdapterConfig } from '../../tensors/adapter-config.ts'
import { openModelFolder } from '../../tensors/node/model-folder.ts'
import type { LocatedSource } from '../../tensors/tensor-location.ts'
import { CONFIG_PATH, CONTAINER_PATH } from './annotations.ts'
import { ServerError } from './errors.ts'
import type { Spool } from './spool.ts'
import type { Upload, UploadedFile } from './upload.ts'
import { chooseWeights, isIndex, shardsOf } from './weight-files.ts'

export interface UploadedExpert {
  readonly kind: ExpertKind
  readonly adapterConfig?: AdapterConfig
  /** The files that hold the weights, index included: replaced by the container. */
  readonly weights: readonly UploadedFile[]
  /** All other files, stored as they came. */
  readonly others: readonly UploadedFile[]
}

/** Where reconstructed weights appear: the one name that every loader looks for. */
export function derivedPath(kind: ExpertKind): string {
  return kind === 'full' ? 'model.safetensors' : 'adapter_model.safetensors'
}

/** Throws FILE_MISSING, ADAPTER_CONFIG_INVALID; PARAMETER_INVALID when the files are of another kind than asked. */
export async function readExpert(upload: Upload, asked: ExpertKind | undefined): Promise<UploadedExpert> {
  checkReserved(upload)
  const { weights, adapter } = await weightsOf(upload)
  const adapterConfig = adapter ? await readConfig(upload, weights[0]?.path ?? '') : undefined
  if (!adapter && upload.get(CONFIG_PATH) !== undefined) {
    throw new ServerError('FILE_MISSING', `${CONFIG_PATH} came without adapter_model.safetensors`, {
      file: 'adapter_model.safetensors',
    })
  }
  const kind = adapterConfig === undefined ? 'full' : adapterConfig.peftType === 'IA3' ? 'ia3' : 'lora'
  if (asked !== undefined && asked !== kind) {
    throw new CompressError('PARAMETER_INVALID', `kind is "${asked}", but the files are of kind "${kind}"`, {
      parameter: 'kind',
      value: asked,
      found: kind,
    })
  }
  const taken = new Set(weights.map(({ path }) => path))
  const others = upload.files.filter(({ path }) => !taken.has(path))
  return { kind, weights, others, ...(adapterConfig && { adapterConfig }) }
}

/** The uploaded weights under their names, so that the readers of model folders find them. */
export async function openUploaded(spool: Spool, weights: readonly UploadedFile[]): Promise<LocatedSource> {
  const [main] = weights
  if (weights.length === 1 && main !== undefined && !isIndex(main.path)) return openNamed(spool, main)
  return openModelFolder(await spool.folderOf(new Map(weights.map(({ path, file }) => [path, file]))))
}

/** One file may have any name. */
async function openNamed(spool: Spool, { path, file }: UploadedFile): Promise<LocatedSource> {
  const folder = await spool.folderOf(new Map([[path, file]]))
  return openModelFolder(`${folder}/${path}`)
}

/** Files of an upload that hold its weights: the index first, where there is one. */
export async function weightsOf(upload: Upload): Promise<{ weights: UploadedFile[]; adapter: boolean }> {
  const paths = upload.files.map(({ path }) => path)
  const { main, adapter } = chooseWeights(paths)
  const mainFile = present(upload, main)
  if (!isIndex(main)) return { weights: [mainFile], adapter }
  const shards = shardsOf(main, await readFile(mainFile.file, 'utf8'), paths)
  return { weights: [mainFile, ...shards.map((path) => present(upload, path))], adapter }
}

async function readConfig(upload: Upload, weights: string): Promise<AdapterConfig> {
  const file = upload.get(CONFIG_PATH)
  if (file === undefined) {
    throw new ServerError('FILE_MISSING', `${weights} came without ${CONFIG_PATH}: its rank and alpha are needed`, {
      file: CONFIG_PATH,
    })
  }
  return parseAdapterConfig(await readFile(file.file, 'utf8'))
}

/** Names that Tern gives to files of its own. */
function checkReserved(upload: Upload): void {
  const taken = upload.files.find(({ path }) => path === CONTAINER_PATH || path.startsWith('original/'))
  if (taken === undefined) return
  throw new ServerError('FILE_REFUSED', `${taken.path}: Tern keeps its own files under this name`, { file: taken.path })
}

function present(upload: Upload, path: string): UploadedFile {
  const file = upload.get(path)
  if (file === undefined) throw new ServerError('FILE_MISSING', `${path} is not among the files`, { file: path })
  return file
}
