/** Which of a repo's files are its weights: the names that Hugging Face's loaders look for. */
import { parseShardIndex } from '../../tensors/shard-index.ts'
import { ServerError } from './errors.ts'

const INDEX = '.safetensors.index.json'

export interface WeightsChoice {
  /** A .safetensors file or an index.json, at the root of the repo. */
  readonly main: string
  readonly adapter: boolean
}

/**
 * Chooses among the paths of a repo. An only .safetensors of another name counts as the model, or as the adapter where
 * adapter_config.json stands beside it. Throws FILE_MISSING; REQUEST_INVALID where the choice is not clear.
 */
export function chooseWeights(paths: readonly string[]): WeightsChoice {
  const adapter = known(paths, 'adapter_model')
  const model = known(paths, 'model')
  if (adapter.length + model.length > 1) {
    throw new ServerError('REQUEST_INVALID', `${[...adapter, ...model].join(' and ')}: send one set of weights`, {
      field: 'files',
    })
  }
  const [main] = [...adapter, ...model]
  if (main !== undefined) return { main, adapter: adapter.length === 1 }
  const others = paths.filter((path) => path.endsWith('.safetensors') && !path.includes('/'))
  const [only] = others
  if (only !== undefined && others.length === 1) return { main: only, adapter: paths.includes('adapter_config.json') }
  const expected = 'adapter_model.safetensors, model.safetensors or model.safetensors.index.json'
  if (others.length === 0) throw new ServerError('FILE_MISSING', `no weights: expected ${expected}`, { file: expected })
  throw new ServerError('FILE_MISSING', `${others.length} .safetensors files, none of them called ${expected}`, {
    file: expected,
  })
}

function known(paths: readonly string[], stem: string): string[] {
  return [`${stem}.safetensors`, stem + INDEX].filter((name) => paths.includes(name))
}

export function isIndex(path: string): boolean {
  return path.endsWith(INDEX)
}

/** The shards an index names, each of them present. Throws SAFETENSORS_INVALID, FILE_MISSING. */
export function shardsOf(index: string, indexText: string, paths: readonly string[]): string[] {
  const shards = [...new Set(parseShardIndex(indexText).values())].sort()
  const missing = shards.find((shard) => !paths.includes(shard))
  if (missing !== undefined)
    throw new ServerError('FILE_MISSING', `${index} names ${missing}, which is not there`, { file: missing })
  return shards
}
