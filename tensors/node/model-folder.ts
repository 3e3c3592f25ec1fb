/** Opens the weights of a model or adapter where they lie on disk: one safetensors file, or a folder as Hugging Face lays it out. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { TensorError } from '../errors.ts'
import { MAX_HEADER_BYTES } from '../safetensors-header.ts'
import { openSafetensors, openSharded, type SafetensorsFile } from '../safetensors-reader.ts'
import type { TensorSource } from '../tensor.ts'
import type { LocatedSource, TensorLocation } from '../tensor-location.ts'
import { type FileSource, openFileSource } from './file-source.ts'

const INDEX_SUFFIX = '.safetensors.index.json'
/** What a folder may hold, in the order of Hugging Face's own loaders. */
const KNOWN_NAMES = [
  'model.safetensors',
  `model${INDEX_SUFFIX}`,
  'adapter_model.safetensors',
  `adapter_model${INDEX_SUFFIX}`,
] as const
/** Weights in formats that run code when they are read, or that Tern has no reader for. */
const FOREIGN = /\.(?:bin|pt|pth|ckpt|pkl|gguf|onnx|h5|msgpack)$/

/**
 * Opens a .safetensors file, an index.json, or a folder with one of them. Throws WEIGHTS_NOT_FOUND where there is
 * none or the choice is not clear, and what the safetensors reader throws, with the file's name in front.
 */
export async function openModelFolder(dirOrFile: string): Promise<LocatedSource> {
  const path = await weightsPath(dirOrFile)
  return path.endsWith('.json') ? openIndexed(path) : openSingle(path)
}

async function weightsPath(dirOrFile: string): Promise<string> {
  const stats = await stat(dirOrFile).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error
    throw notFound(`no file or folder ${dirOrFile}`, dirOrFile)
  })
  if (stats.isDirectory()) return join(dirOrFile, chooseWeights(dirOrFile, await readdir(dirOrFile)))
  if (dirOrFile.endsWith('.safetensors') || dirOrFile.endsWith(INDEX_SUFFIX)) return dirOrFile
  throw notFound(`${dirOrFile} is neither a folder nor a .safetensors file`, dirOrFile)
}

function chooseWeights(folder: string, names: readonly string[]): string {
  const known = KNOWN_NAMES.filter((name) => names.includes(name))
  const candidates = known.length > 0 ? known : names.filter((name) => name.endsWith('.safetensors')).sort()
  const [only] = candidates
  if (only !== undefined && candidates.length === 1) return only
  if (candidates.length > 1) {
    throw notFound(
      `${folder} holds ${candidates.slice(0, 5).join(' and ')}${candidates.length > 5 ? ' and more' : ''}: give the path of the one that is meant`,
      folder,
    )
  }
  const foreign = names.find((name) => FOREIGN.test(name))
  const hint = foreign ? `; ${foreign} is not read: save the weights as safetensors` : ''
  throw notFound(`${folder} holds no weights: expected ${KNOWN_NAMES.join(', ')}${hint}`, folder)
}

function notFound(message: string, path: string): TensorError {
  return new TensorError('WEIGHTS_NOT_FOUND', message, { path })
}

async function openSingle(path: string): Promise<LocatedSource> {
  const source = await openFileSource(path)
  try {
    const file = await openSafetensors(source)
    return located(file, () => ({ path, file }))
  } catch (error) {
    await source.close()
    throw named(basename(path), error)
  }
}

async function openIndexed(path: string): Promise<LocatedSource> {
  const { size } = await stat(path)
  if (size > MAX_HEADER_BYTES) {
    throw new TensorError('SAFETENSORS_INVALID', `${path} has ${size} bytes; at most ${MAX_HEADER_BYTES} are read`, {
      size,
    })
  }
  const sharded = await openSharded(await readFile(path, 'utf8'), (file) => openFileSource(join(dirname(path), file)))
  return located(sharded, (name) => {
    const file = sharded.shard(name)
    return { path: (file.source as FileSource).path, file }
  })
}

function located(
  source: TensorSource,
  fileOf: (name: string) => { path: string; file: SafetensorsFile },
): LocatedSource {
  return {
    tensors: source.tensors,
    metadata: source.metadata,
    read: (name, signal) => source.read(name, signal),
    readBytes: (name, signal) => source.readBytes(name, signal),
    readRange: (name, start, end, signal) => fileOf(name).file.readRange(name, start, end, signal),
    close: async () => source.close?.(),
    locate(name): TensorLocation {
      const { path, file } = fileOf(name)
      const { start, end, dtype, shape } = file.span(name)
      return { path, start, end, dtype, shape }
    },
  }
}

function named(file: string, error: unknown): unknown {
  if (!(error instanceof TensorError)) return error
  return new TensorError(error.code, `${file}: ${error.message}`, { ...error.detail, file }, { cause: error })
}
