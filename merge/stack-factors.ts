/** Stacks the factors of several adapters: lora_A by rows, lora_B by columns. */
import { elementCount } from '../tensors/tensor.ts'
import type { StackFactor, StackStep } from './plan-step.ts'

/** Row-major values of the stacked factor. Factors are small: all of one module are held at once. */
export async function stackFactors(step: StackStep, signal?: AbortSignal): Promise<Float32Array> {
  const blocks: Float32Array[] = []
  for (const factor of step.factors) blocks.push(await readScaled(factor, signal))
  const widths = step.factors.map(({ info }) => elementCount(info.shape.slice(step.axis)))
  const rows = step.axis === 0 ? 1 : step.factors[0]!.info.shape[0]!
  const out = new Float32Array(blocks.reduce((sum, block) => sum + block.length, 0))
  let at = 0
  for (let row = 0; row < rows; row++) {
    for (const [index, block] of blocks.entries()) {
      const width = widths[index]!
      out.set(block.subarray(row * width, (row + 1) * width), at)
      at += width
    }
  }
  return out
}

async function readScaled({ source, info, multipliers }: StackFactor, signal?: AbortSignal): Promise<Float32Array> {
  const values = await source.read(info.name, signal)
  if (multipliers.length === 0) return values
  const out = new Float32Array(values)
  for (const multiplier of multipliers) {
    const factor = Math.fround(multiplier)
    for (let i = 0; i < out.length; i++) out[i] = out[i]! * factor
  }
  return out
}
