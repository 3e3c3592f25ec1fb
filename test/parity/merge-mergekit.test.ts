/** Against what mergekit 0.1.5 made of the same YAML and models (scripts/golden/mergekit-merges.py). */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import type { MergeInput } from '../../merge/input.ts'
import { memorySource } from '../../tensors/byte-source.ts'
import { openSafetensors } from '../../tensors/safetensors-reader.ts'
import type { TensorSource } from '../../tensors/tensor.ts'
import { mergeText } from '../unit/merge/models.ts'

const MODELS = ['base', 'expert-a', 'expert-b', 'expert-c', 'coarse-base', 'coarse-a', 'coarse-b']
const EXACT = [
  'linear',
  'linear-unnormalized',
  'task_arithmetic',
  'task_arithmetic-normalized',
  'ties',
  'ties-unnormalized',
  'ties-planned',
  'linear-bf16',
  'task_arithmetic-bf16',
  'ties-bf16',
]

function goldenBytes(name: string): Uint8Array {
  return readFileSync(fileURLToPath(new URL(`golden/merge/${name}`, import.meta.url)))
}

function golden(name: string): Promise<TensorSource> {
  return openSafetensors(memorySource(goldenBytes(`${name}.safetensors`)))
}

async function inputs(): Promise<MergeInput[]> {
  return Promise.all(
    // Sums follow the identities: these sort as the golden recipes list their models.
    MODELS.map(async (ref) => ({ ref, identity: ref, kind: 'model' as const, source: await golden(ref) })),
  )
}

async function mergeCase(name: string) {
  return mergeText(new TextDecoder().decode(goldenBytes(`${name}.yml`)), await inputs())
}

/** Difference to the base, in f32. */
async function difference(values: Float32Array, base: TensorSource, name: string): Promise<Float32Array> {
  const origin = await base.read(name)
  return values.map((value, i) => value - origin[i]!)
}

describe('a recipe that mergekit has run', () => {
  for (const name of EXACT) {
    it(`gives the same numbers, element for element: ${name}`, async () => {
      const { sink } = await mergeCase(name)
      const expected = await golden(name)
      expect(sink.tensors.map((tensor) => tensor.name).sort()).toEqual(expected.tensors.map((t) => t.name).sort())
      for (const { name: tensor, dtype } of expected.tensors) {
        expect(sink.tensors.find((info) => info.name === tensor)?.dtype).toBe(dtype)
        expect([...sink.values(tensor)], tensor).toEqual([...(await expected.read(tensor))])
      }
    })
  }
})

describe('ties where many magnitudes are equal', () => {
  it('differs from mergekit only where an input sits exactly on its threshold', async () => {
    const density = 0.3
    const { sink } = await mergeCase('ties-coarse')
    const expected = await golden('ties-coarse')
    const base = await golden('coarse-base')
    const experts = await Promise.all([golden('coarse-a'), golden('coarse-b')])
    let differing = 0
    for (const { name } of expected.tensors) {
      const magnitudes = await Promise.all(
        experts.map(async (expert) => (await difference(await expert.read(name), base, name)).map(Math.abs)),
      )
      const thresholds = magnitudes.map((m) => [...m].sort((a, b) => b - a)[Math.floor(density * m.length) - 1])
      const [ours, theirs] = [sink.values(name), await expected.read(name)]
      for (let i = 0; i < ours.length; i++) {
        if (ours[i] === theirs[i]) continue
        differing++
        expect(
          magnitudes.some((m, k) => m[i] === thresholds[k]),
          `${name}[${i}]`,
        ).toBe(true)
      }
    }
    expect(differing).toBeGreaterThan(0)
  })
})

describe.each(['dare_linear', 'dare_ties', 'dare_linear-bf16', 'dare_ties-bf16'])('%s of one expert', (name) => {
  const density = 0.4

  it.each(['ours', 'golden'])('keeps a share of density within four sigma: %s', async (whose) => {
    const merged = whose === 'ours' ? (await mergeCase(name)).sink : await golden(name)
    const [base, expert] = [await golden('base'), await golden('expert-a')]
    let kept = 0
    let entries = 0
    for (const { name: tensor } of base.tensors) {
      const values = 'values' in merged ? merged.values(tensor) : await merged.read(tensor)
      const origin = await base.read(tensor)
      const delta = await difference(await expert.read(tensor), base, tensor)
      for (let i = 0; i < values.length; i++) {
        // A kept entry moves by 1/density of its difference, a dropped one not at all (bf16: by its rounding).
        if (Math.abs(values[i]! - origin[i]!) > Math.abs(delta[i]!)) kept++
        entries++
      }
    }
    // bf16 rounding of the base is as large as small differences: allow for entries that cannot be told apart.
    const slack = name.endsWith('bf16') ? 0.05 : 0
    const sigma = Math.sqrt((density * (1 - density)) / entries)
    expect(Math.abs(kept / entries - density)).toBeLessThan(4 * sigma + slack)
  })
})

describe.each(['dare_linear', 'dare_ties'])('%s rescales to the L1 norm of the whole difference', (name) => {
  it.each(['ours', 'golden'])('tensor by tensor: %s', async (whose) => {
    const merged = whose === 'ours' ? (await mergeCase(name)).sink : await golden(name)
    const [base, expert] = [await golden('base'), await golden('expert-a')]
    for (const { name: tensor } of base.tensors) {
      const values = 'values' in merged ? merged.values(tensor) : await merged.read(tensor)
      const change = await difference(values, base, tensor)
      const delta = await difference(await expert.read(tensor), base, tensor)
      const norm = (xs: Float32Array) => xs.reduce((sum, x) => sum + Math.abs(x), 0)
      expect(norm(change) / norm(delta), tensor).toBeCloseTo(1, 5)
    }
  })
})
