/** Trits and scales bit for bit against spec/vectors/algorithm.json, made by another program (scripts/golden). */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { decide } from '../../compress/decide.ts'
import { inlineExecutor } from '../../compress/executor-inline.ts'
import { type RawOptions, resolveOptions, type Transform } from '../../compress/options.ts'
import { quantizePair } from '../../compress/quantize-pair.ts'
import { INDEX_MASK, type QuantizedTensor, SIGN_BIT } from '../../compress/quantized-tensor.ts'
import type { TensorUnit } from '../../compress/task-vector.ts'
import { TASKS } from '../../compress/tasks.ts'
import { transformFactors } from '../../compress/transforms/transform.ts'
import { tempModel } from '../fixtures/temp-model.ts'

interface TensorsVector {
  readonly name: string
  readonly scope: string
  readonly scale: string
  readonly density: number
  readonly alpha: number | null
  readonly gain: number
  readonly threshold: number | null
  readonly tensors: readonly {
    readonly name: string
    readonly tau: string
    readonly trits: number[]
    readonly scale: string
  }[]
}

interface ModuleVector {
  readonly name: string
  readonly rank: number
  readonly in: number
  readonly out: number
  readonly transform: Transform
  readonly density: number
  readonly gain: number
  readonly a: string
  readonly b: string
  readonly transformed_a: string
  readonly transformed_b: string
  readonly trits_a: number[]
  readonly trits_b: number[]
  readonly scales_a: string
  readonly scales_b: string
}

const vectors = JSON.parse(readFileSync(new URL('../../spec/vectors/algorithm.json', import.meta.url), 'utf8')) as {
  tensors: TensorsVector[]
  lora_modules: ModuleVector[]
}

function floats(hex: string): Float32Array {
  const bytes = Uint8Array.from({ length: hex.length / 2 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16))
  return new Float32Array(bytes.buffer)
}

function hex(values: Float32Array): string {
  const bytes = new Uint8Array(values.slice().buffer)
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

function trits({ rows, cols, positions }: QuantizedTensor): number[] {
  const out = new Array<number>(rows * cols).fill(0)
  for (const p of positions) out[p & INDEX_MASK] = p >= SIGN_BIT ? -1 : 1
  return out
}

describe('a task vector', () => {
  test.each(vectors.tensors)('"$name" has the trits and scales of the vector', async (vector) => {
    const { scope, scale, density, alpha, gain } = vector
    const raw: RawOptions = { scope, scale, density, gain, ...(alpha === null ? {} : { alpha }) }
    const options = resolveOptions('ia3', raw)
    const values = vector.tensors.map(({ name, tau }) => ({ name, shape: [floats(tau).length], values: floats(tau) }))
    // Not in name order, which is for the threshold to find.
    const source = await tempModel(values.toReversed())
    const units = source.tensors.map(
      ({ name }): TensorUnit => ({ kind: 'tensor', tensor: { name, location: source.locate(name), origin: 0 } }),
    )
    const executor = inlineExecutor()
    const decision = await decide({ kind: 'ia3', options, units, executor, onUnit: () => {} })
    expect(decision.threshold).toBe(vector.threshold)
    for (const unit of units) {
      const { parts } = await TASKS.quantizeUnit({ unit, transform: 'none', rules: decision.rulesFor(unit) })
      const wanted = vector.tensors.find(({ name }) => name === unit.tensor.name)
      const [part] = parts
      expect({ trits: trits(part!.quantized), scale: hex(part!.quantized.scales.values) }).toEqual({
        trits: wanted?.trits,
        scale: wanted?.scale,
      })
    }
  })
})

describe('a LoRA module', () => {
  test.each(vectors.lora_modules)('"$name" has the factors, trits and scales of the vector', (vector) => {
    const { rank, transform, density, gain } = vector
    const original = { rank, inFeatures: vector.in, outFeatures: vector.out, a: floats(vector.a), b: floats(vector.b) }
    const factors = transformFactors(original, transform)
    expect({ a: hex(factors.a), b: hex(factors.b) }).toEqual({ a: vector.transformed_a, b: vector.transformed_b })
    const { a, b } = quantizePair({ module: 'm', a: 'a', b: 'b' }, original, factors, {
      mask: { scope: 'tensor', density },
      scale: { kind: 'component' },
      layers: 1,
      gain,
    })
    expect(trits(a.quantized)).toEqual(vector.trits_a)
    expect(trits(b.quantized)).toEqual(vector.trits_b)
    expect(hex(a.quantized.scales.values)).toBe(vector.scales_a)
    expect(hex(b.quantized.scales.values)).toBe(vector.scales_b)
  })
})

test('the vectors cover one threshold and many, every scale and every transform', () => {
  const kinds = new Set(vectors.tensors.map(({ scope, scale }) => `${scope} ${scale}`))
  expect(kinds.size).toBe(6)
  expect(new Set(vectors.lora_modules.map(({ transform }) => transform)).size).toBe(3)
})
