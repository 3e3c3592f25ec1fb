/** Made-up weights for the speed measurements: normal values in bf16, and whole models of them on disk. */
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { serialiseHeader } from '../tensors/safetensors-header.ts'
import type { TensorInfo } from '../tensors/tensor.ts'

const TABLE = 2 ** 16
export const MATRIX = { rows: 4096, cols: 4096 } as const
export const MATRIX_BYTES = MATRIX.rows * MATRIX.cols * 2

/** xorshift32: uniform 32-bit words. */
function words(seed: number): () => number {
  let state = seed | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
}

function normalTable(deviation: number, seed: number): Float32Array {
  const next = words(seed)
  const uniform = () => (next() + 1) / (2 ** 32 + 1)
  return Float32Array.from(
    { length: TABLE },
    () => deviation * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  )
}

/** bf16 codes of normal values; of each value plus `base`'s where there is one. */
export function normalBf16(n: number, deviation: number, seed: number, base?: Uint16Array): Uint16Array {
  const table = normalTable(deviation, seed)
  const next = words(seed + 77)
  const float = new Float32Array(1)
  const bits = new Uint32Array(float.buffer)
  const codes = new Uint16Array(n)
  for (let i = 0; i < n; i++) {
    bits[0] = base === undefined ? 0 : (base[i] as number) << 16
    // Two table values make ties no more frequent than among real weights.
    float[0] = (float[0] as number) + (table[next() % TABLE] as number) * (1 + (i & 255) / 4096)
    codes[i] = ((bits[0] as number) + 0x8000) >>> 16
  }
  return codes
}

/** A base and a full fine-tune of it, `tensors` matrices of MATRIX each, as <folder>/{base,expert}/model.safetensors. */
export function writeModels(folder: string, tensors: number): void {
  const infos: TensorInfo[] = Array.from({ length: tensors }, (_, i) => ({
    name: `model.layers.${String(i).padStart(3, '0')}.mlp.up_proj.weight`,
    dtype: 'BF16',
    shape: [MATRIX.rows, MATRIX.cols],
  }))
  const files = ['base', 'expert'].map((name) => openSync(join(folder, name, 'model.safetensors'), 'w'))
  for (const file of files) writeSync(file, serialiseHeader(infos, {}))
  for (let i = 0; i < tensors; i++) {
    const base = normalBf16(MATRIX.rows * MATRIX.cols, 0.02, 2 * i + 1)
    writeSync(files[0] as number, base)
    writeSync(files[1] as number, normalBf16(base.length, 0.002, 2 * i + 2, base))
  }
  for (const file of files) closeSync(file)
}
