/** Safetensors files small enough that a change is sure to hit, as tensors and as bytes. */
import { type Dtype, dtypeBytes } from '../../tensors/dtype.ts'
import { dataBytes, serialiseHeader } from '../../tensors/safetensors-header.ts'
import { elementCount, type TensorInfo } from '../../tensors/tensor.ts'
import { Dice } from './dice.ts'

const DTYPES: readonly Dtype[] = ['F64', 'F32', 'F16', 'BF16', 'F8_E4M3', 'F8_E5M2', 'C64', 'I64', 'I8', 'U16', 'BOOL']
const SHAPES: readonly (readonly number[])[] = [[], [0], [1], [3, 2], [2, 0, 5], [8], [1, 1, 4]]

export interface SafetensorsSeed {
  readonly header: Uint8Array
  readonly data: Uint8Array
  /** The header's JSON, as text and parsed. */
  readonly text: string
  readonly value: unknown
}

export function safetensorsSeeds(): SafetensorsSeed[] {
  const dice = new Dice(7)
  const seeds = Array.from({ length: 24 }, (_, i) => {
    const tensors = Array.from({ length: i % 6 }, (_, t): TensorInfo => {
      const name = dice.pick(['a', 'model.layers.0.w', 'base_model.model.q.lora_A.weight', 'é', '__proto__', ''])
      return { name: `${name}${t === 0 ? '' : t}`, dtype: dice.pick(DTYPES), shape: dice.pick(SHAPES) }
    })
    const metadata: Record<string, string> = i % 3 === 0 ? { format: 'pt', 'a.b': '' } : {}
    return seed(serialiseHeader(tensors, metadata), dice.bytes(dataBytes(tensors)))
  })
  return [...seeds, unordered()]
}

function seed(header: Uint8Array, data: Uint8Array): SafetensorsSeed {
  const text = new TextDecoder().decode(header.subarray(8))
  return { header, data, text, value: JSON.parse(text) }
}

/** Valid, and not as Tern writes it: the text in another order than the data, spaces, escapes. */
function unordered(): SafetensorsSeed {
  const text = ` { "b" : {"shape":[2],"data_offsets":[4, 8],"dtype":"F16"}, "\\u0061": {"dtype":"F32","shape":[],"data_offsets":[0,4]} } `
  const json = new TextEncoder().encode(text.trim())
  const header = new Uint8Array(8 + json.length)
  new DataView(header.buffer).setBigUint64(0, BigInt(json.length), true)
  header.set(json, 8)
  return seed(header, new Uint8Array(8).fill(1))
}

/** Bytes of a tensor by the shape alone. */
export function bytesOf({ dtype, shape }: TensorInfo): number {
  return elementCount(shape) * dtypeBytes(dtype)
}
