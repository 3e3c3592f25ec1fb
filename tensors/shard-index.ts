/** The index.json beside sharded safetensors: which file holds which tensor. */
import { TensorError } from './errors.ts'
import { MAX_HEADER_BYTES, MAX_TENSORS } from './safetensors-header.ts'
import { type JsonValue, parseStrictJson, StrictJsonError } from './strict-json.ts'

/** Stops an index that has us open files without end. */
const MAX_SHARDS = 1024
/** An index is one flat map and a few figures. */
const JSON_LIMITS = { depth: 8, values: 2 * MAX_TENSORS, members: MAX_TENSORS }

/**
 * weight_map as tensor name -> file name. File names must be plain, so that an index cannot point outside its folder.
 * Throws SAFETENSORS_INVALID naming the tensor or file.
 */
export function parseShardIndex(text: string): Map<string, string> {
  const weightMap = parseRoot(text)
  if (!(weightMap instanceof Map)) throw invalid('has no weight_map object', {})
  if (weightMap.size === 0) throw invalid('has an empty weight_map', {})
  const result = new Map<string, string>()
  for (const [tensor, file] of weightMap) result.set(tensor, checkFileName(tensor, file))
  const shards = new Set(result.values()).size
  if (shards > MAX_SHARDS) throw invalid(`names ${shards} files; at most ${MAX_SHARDS} are read`, { shards })
  return result
}

function parseRoot(text: string): JsonValue | undefined {
  if (text.length > MAX_HEADER_BYTES) {
    throw invalid(`has ${text.length} characters; at most ${MAX_HEADER_BYTES} are read`, { length: text.length })
  }
  try {
    const root = parseStrictJson(text, JSON_LIMITS)
    return root instanceof Map ? root.get('weight_map') : undefined
  } catch (error) {
    if (!(error instanceof StrictJsonError)) throw error
    throw invalid(`is no strict JSON: ${error.message}`, { at: error.at })
  }
}

function checkFileName(tensor: string, file: JsonValue): string {
  // No separator of any system, no drive letter, no NUL, and no leading dot.
  if (typeof file === 'string' && file.length <= 255 && /^[^./\\:\0][^/\\:\0]*\.safetensors$/.test(file)) return file
  const shown = typeof file === 'string' ? JSON.stringify(file.slice(0, 200)) : 'no string'
  throw invalid(
    `maps tensor ${JSON.stringify(tensor.slice(0, 200))} to ${shown}; expected the name of a .safetensors file in the same folder`,
    {
      tensor: tensor.slice(0, 200),
      file: shown,
    },
  )
}

function invalid(message: string, detail: Record<string, unknown>): TensorError {
  return new TensorError('SAFETENSORS_INVALID', `the shard index ${message}`, detail)
}
