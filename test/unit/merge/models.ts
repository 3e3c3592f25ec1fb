/** Models, experts and adapters in memory, and a sink that keeps what a merge writes. */
import { createHash } from 'node:crypto'
import { MergeError } from '../../../merge/errors.ts'
import type { MergeInput, OpenInput } from '../../../merge/input.ts'
import { type MergePlan, planMerge } from '../../../merge/plan.ts'
import { parseRecipe } from '../../../merge/recipe.ts'
import type { RecipeFormat } from '../../../merge/recipe-document.ts'
import { type MergeReport, type MergeRunOptions, runMerge } from '../../../merge/run-merge.ts'
import { parseAdapterConfig } from '../../../tensors/adapter-config.ts'
import { type Dtype, dtypeBytes, fromF32, toF32 } from '../../../tensors/dtype.ts'
import { elementCount, type TensorInfo, type TensorSink, type TensorSource } from '../../../tensors/tensor.ts'

export interface Plain {
  readonly shape: readonly number[]
  readonly values: readonly number[] | Float32Array
  readonly dtype?: Dtype
}

export type PlainTensors = Readonly<Record<string, Plain>>

/** Which names were read, so that a test can say that planning reads none. */
export interface MemorySource extends TensorSource {
  readonly reads: string[]
}

export function memoryTensors(tensors: PlainTensors, sparse = false): MemorySource {
  const infos: TensorInfo[] = []
  const bytes = new Map<string, Uint8Array>()
  const reads: string[] = []
  for (const [name, { shape, values, dtype = 'F32' }] of Object.entries(tensors)) {
    infos.push({ name, dtype, shape })
    bytes.set(name, encode(values, dtype, elementCount(shape)))
  }
  const info = (name: string) => infos.find((tensor) => tensor.name === name)!
  const readBytes = async (name: string) => {
    reads.push(name)
    return bytes.get(name)!
  }
  const read = async (name: string) => toF32(await readBytes(name), info(name).dtype)
  const addTo = async (name: string, acc: Float32Array, weight: number) => {
    const values = await read(name)
    values.forEach((value, i) => {
      if (value !== 0) acc[i] = acc[i]! + Math.fround(Math.fround(weight) * value)
    })
  }
  return { tensors: infos, metadata: {}, reads, read, readBytes, ...(sparse ? { addTo } : {}) }
}

function encode(values: readonly number[] | Float32Array, dtype: Dtype, count: number): Uint8Array {
  if (values.length !== count) throw new Error(`${values.length} values for ${count} entries`)
  if (dtype === 'I64') return new Uint8Array(BigInt64Array.from(values, (value) => BigInt(value)).buffer)
  if (dtype === 'F8_E4M3') return new Uint8Array(count * dtypeBytes(dtype))
  return fromF32(Float32Array.from(values), dtype)
}

/** Reproducible values in -1..1, different for every seed. */
export function noise(count: number, seed: number): Float32Array {
  let state = seed * 2654435761
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return state / 2 ** 31
  })
}

export function model(ref: string, tensors: PlainTensors, rest: Partial<MergeInput> = {}): MergeInput {
  return { ref, identity: identityOf(tensors), kind: 'model', source: memoryTensors(tensors), ...rest }
}

export function taskVector(ref: string, tensors: PlainTensors, rest: Partial<MergeInput> = {}): MergeInput {
  return { ref, identity: identityOf(tensors), kind: 'task_vector', source: memoryTensors(tensors, true), ...rest }
}

export function lora(ref: string, tensors: PlainTensors, config: Record<string, unknown> = {}): MergeInput {
  const adapterConfig = parseAdapterConfig(
    JSON.stringify({ peft_type: 'LORA', r: 2, lora_alpha: 4, target_modules: ['q'], ...config }),
  )
  return { ref, identity: identityOf(tensors), kind: 'lora', source: memoryTensors(tensors), adapterConfig }
}

function identityOf(tensors: PlainTensors): string {
  const hash = createHash('sha256')
  for (const [name, { shape, values, dtype }] of Object.entries(tensors)) {
    hash.update(`${name} ${shape} ${dtype} ${Array.from(values)}`)
  }
  return `sha256:${hash.digest('hex')}`
}

export function opener(inputs: readonly MergeInput[]): OpenInput {
  return async (ref) => {
    const found = inputs.find((input) => input.ref === ref)
    if (found) return found
    throw new MergeError('MERGE_INPUT_NOT_FOUND', `'${ref}' does not exist`, { ref })
  }
}

export class CollectingSink implements TensorSink {
  tensors: readonly TensorInfo[] = []
  metadata: Readonly<Record<string, string>> = {}
  ended = false
  readonly bytes = new Map<string, Uint8Array>()

  async begin(tensors: readonly TensorInfo[], metadata: Readonly<Record<string, string>>): Promise<void> {
    this.tensors = tensors
    this.metadata = metadata
  }

  async write(name: string, bytes: Uint8Array): Promise<void> {
    const due = this.tensors[this.bytes.size]
    if (due?.name !== name) throw new Error(`${name} written where ${due?.name} was due`)
    if (bytes.byteLength !== elementCount(due.shape) * dtypeBytes(due.dtype)) throw new Error(`${name}: wrong length`)
    this.bytes.set(name, bytes.slice())
  }

  async end(): Promise<void> {
    this.ended = true
  }

  values(name: string): Float32Array {
    return toF32(this.bytes.get(name)!, this.tensors.find((tensor) => tensor.name === name)!.dtype)
  }

  /** Everything that was written, as one text to compare. */
  all(): Record<string, string> {
    return Object.fromEntries([...this.bytes].map(([name, bytes]) => [name, Buffer.from(bytes).toString('hex')]))
  }
}

export function planText(
  text: string,
  inputs: readonly MergeInput[],
  format: RecipeFormat = 'yaml',
): Promise<MergePlan> {
  return planMerge(parseRecipe(text, format), opener(inputs))
}

export async function mergeText(
  text: string,
  inputs: readonly MergeInput[],
  options: MergeRunOptions = {},
): Promise<{ plan: MergePlan; report: MergeReport; sink: CollectingSink }> {
  const plan = await planText(text, inputs)
  const sink = new CollectingSink()
  const report = await runMerge(plan, sink, options)
  return { plan, report, sink }
}
