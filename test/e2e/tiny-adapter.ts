/** Adapters of a few kilobytes, different for every seed: enough of them can be uploaded to be killed in between. */
import { serialiseHeader } from '../../tensors/safetensors-header.ts'

export interface TinyFile {
  readonly path: string
  readonly bytes: Uint8Array
}

const MODULES = ['model.layers.0.self_attn.q_proj', 'model.layers.0.self_attn.v_proj', 'model.layers.1.mlp.up_proj']
const RANK = 4
const WIDTH = 32

/** The two files of a PEFT adapter. */
export function tinyAdapter(seed: number): TinyFile[] {
  const random = generator(seed)
  const tensors = MODULES.flatMap((module) => [
    { name: `base_model.model.${module}.lora_A.weight`, dtype: 'F32' as const, shape: [RANK, WIDTH] },
    { name: `base_model.model.${module}.lora_B.weight`, dtype: 'F32' as const, shape: [WIDTH, RANK] },
  ])
  const header = serialiseHeader(tensors, { format: 'pt' })
  const values = Float32Array.from({ length: tensors.length * RANK * WIDTH }, () => (random() - 0.5) * 0.1)
  const config = {
    peft_type: 'LORA',
    base_model_name_or_path: 'tiny/base',
    r: RANK,
    lora_alpha: 8,
    target_modules: ['q_proj', 'v_proj', 'up_proj'],
  }
  return [
    { path: 'adapter_config.json', bytes: new TextEncoder().encode(JSON.stringify(config)) },
    { path: 'adapter_model.safetensors', bytes: Buffer.concat([header, new Uint8Array(values.buffer)]) },
  ]
}

/** The two files of a base model. */
export function tinyModel(seed: number): TinyFile[] {
  const random = generator(seed)
  const tensors = MODULES.map((module) => ({ name: `${module}.weight`, dtype: 'F32' as const, shape: [WIDTH, WIDTH] }))
  const header = serialiseHeader(tensors, { format: 'pt' })
  const values = Float32Array.from({ length: tensors.length * WIDTH * WIDTH }, () => random() - 0.5)
  return [
    { path: 'config.json', bytes: new TextEncoder().encode(JSON.stringify({ model_type: 'tiny', seed })) },
    { path: 'model.safetensors', bytes: Buffer.concat([header, new Uint8Array(values.buffer)]) },
  ]
}

/** Mulberry32: uniform in [0, 1), the same on every machine. */
export function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
