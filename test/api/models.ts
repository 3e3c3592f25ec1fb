/** Models of a few kilobytes with the names and shapes of real ones. */
import { type Dtype, fromF32 } from '../../tensors/dtype.ts'
import { serialiseHeader } from '../../tensors/safetensors-header.ts'
import { elementCount, type TensorInfo } from '../../tensors/tensor.ts'
import { gaussian } from '../fixtures/random.ts'
import type { Part } from './harness.ts'

export const RANK = 4
const WIDTH = 32
const MODULES = ['model.layers.0.self_attn.q_proj', 'model.layers.0.self_attn.v_proj', 'model.layers.1.mlp.up_proj']

export interface NamedTensor extends TensorInfo {
  readonly values: Float32Array
}

export function safetensors(tensors: readonly NamedTensor[]): Uint8Array {
  const data = tensors.map(({ values, dtype }) => fromF32(values, dtype))
  return Buffer.concat([serialiseHeader(tensors, { format: 'pt' }), ...data])
}

export function json(path: string, value: unknown): Part {
  return { path, bytes: new TextEncoder().encode(JSON.stringify(value)) }
}

function normal(name: string, shape: number[], seed: number, scale: number, dtype: Dtype = 'F32'): NamedTensor {
  const next = gaussian(seed)
  return { name, dtype, shape, values: Float32Array.from({ length: elementCount(shape) }, () => scale * next()) }
}

export function adapterTensors(seed: number): NamedTensor[] {
  return MODULES.flatMap((module, i) => [
    normal(`base_model.model.${module}.lora_A.weight`, [RANK, WIDTH], seed * 100 + i, 0.1),
    normal(`base_model.model.${module}.lora_B.weight`, [WIDTH, RANK], seed * 100 + 50 + i, 0.1),
  ])
}

export const ADAPTER_CONFIG = {
  peft_type: 'LORA',
  base_model_name_or_path: 'acme/tiny',
  r: RANK,
  lora_alpha: 8,
  target_modules: ['q_proj', 'v_proj', 'up_proj'],
}

export function adapter(seed: number): Part[] {
  return [
    json('adapter_config.json', ADAPTER_CONFIG),
    { path: 'adapter_model.safetensors', bytes: safetensors(adapterTensors(seed)) },
  ]
}

export function baseTensors(seed: number, width = WIDTH): NamedTensor[] {
  return [
    normal('model.embed_tokens.weight', [16, width], seed, 1),
    ...MODULES.map((module, i) => normal(`${module}.weight`, [width, width], seed * 100 + i, 1)),
    normal('model.norm.weight', [width], seed + 7, 1),
  ]
}

export function base(seed: number, width = WIDTH): Part[] {
  return [
    json('config.json', { model_type: 'tiny', torch_dtype: 'float32' }),
    { path: 'model.safetensors', bytes: safetensors(baseTensors(seed, width)) },
  ]
}

/** The base with a small normal change of every matrix. */
export function fineTuneTensors(baseSeed: number, seed: number): NamedTensor[] {
  return baseTensors(baseSeed).map((tensor, i) => {
    const next = gaussian(seed * 1000 + i)
    return { ...tensor, values: tensor.values.map((value) => Math.fround(value + 0.01 * next())) }
  })
}

export function fineTune(baseSeed: number, seed: number): Part[] {
  return [
    json('config.json', { model_type: 'tiny', torch_dtype: 'float32' }),
    { path: 'model.safetensors', bytes: safetensors(fineTuneTensors(baseSeed, seed)) },
  ]
}

export function ia3Adapter(seed: number): Part[] {
  const next = gaussian(seed)
  const tensors = MODULES.map((module) => ({
    name: `base_model.model.${module}.ia3_l`,
    dtype: 'F32' as const,
    shape: [WIDTH, 1],
    values: Float32Array.from({ length: WIDTH }, () => 1 + 0.1 * next()),
  }))
  return [
    json('adapter_config.json', { peft_type: 'IA3', target_modules: ['q_proj', 'v_proj', 'up_proj'] }),
    { path: 'adapter_model.safetensors', bytes: safetensors(tensors) },
  ]
}
