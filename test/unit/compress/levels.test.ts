import { describe, expect, test } from 'vitest'
import { layersOf, levelsOf, maxLevel } from '../../../compress/levels.ts'
import type { ScalablePart } from '../../../compress/quantize.ts'
import { INDEX_MASK, layerWorths, SIGN_BIT } from '../../../compress/quantized-tensor.ts'
import { momentsOf } from '../../../compress/statistics.ts'
import { randomFloats } from '../../fixtures/random.ts'

function positionsOf(values: ArrayLike<number>): Uint32Array {
  return Uint32Array.from(Array.from(values, (value, i) => (value < 0 ? i + SIGN_BIT : i)))
}

/** All of tau kept. */
function partOf(tau: Float32Array, threshold: number): ScalablePart {
  const magnitudes = tau.map(Math.abs)
  const keptMagnitudes = magnitudes.reduce((sum, value) => sum + value, 0)
  return { name: 't', moments: momentsOf(tau, 't'), positions: positionsOf(tau), magnitudes, keptMagnitudes, threshold }
}

function levels(tau: Float32Array, threshold: number, layers: number): number[] {
  return [...levelsOf(partOf(tau, threshold), layers).levels]
}

describe('levels', () => {
  test('are whole steps of which the threshold is 0.6', () => {
    // With 13 levels to go to, the root mean square does not bound the step.
    expect(levels(Float32Array.of(0.61, -1.59, 1.61, 2.61, 3.61), 0.6, 3)).toEqual([1, 1, 2, 3, 4])
  })

  test('stop at what the layers can say', () => {
    expect(levels(Float32Array.of(...new Array(999).fill(1), 100), 0.6, 3).slice(998)).toEqual([1, 13])
    expect([1, 2, 3, 4].map(maxLevel)).toEqual([1, 4, 13, 40])
  })

  test('are all 1 with one layer', () => {
    expect(levels(Float32Array.of(0.6, -5, 50), 0.6, 1)).toEqual([1, 1, 1])
  })

  test('do not all end up the largest when nearly everything is kept', () => {
    const found = levels(randomFloats(1000, 3), 1e-9, 3)
    expect(found.filter((level) => level === 13).length).toBeLessThan(100)
    expect(new Set(found).size).toBeGreaterThan(10)
  })

  test('come with the sums that least squares needs', () => {
    const tau = Float32Array.of(0.75, -1.75, 3)
    const { squares, dot } = levelsOf(partOf(tau, 0.6), 3)
    expect([squares, dot]).toEqual([1 + 4 + 9, 0.75 + 3.5 + 9])
  })
})

describe('layers', () => {
  const all = Array.from({ length: 27 }, (_, i) => i - 13).filter((level) => level !== 0)

  test('add up to the level and its sign', () => {
    const found = layersOf(positionsOf(all), Uint16Array.from(all, Math.abs), 3)
    const sums = new Array<number>(all.length).fill(0)
    found.forEach((layer, l) => {
      for (const position of layer)
        sums[position & INDEX_MASK]! += (position >= SIGN_BIT ? -1 : 1) * (layerWorths(3)[l] as number)
    })
    expect(sums).toEqual(all)
  })

  test('are the nearest coarser levels when the last ones are left out', () => {
    const [nines = new Uint32Array(), threes = new Uint32Array()] = layersOf(
      positionsOf(all),
      Uint16Array.from(all, Math.abs),
      3,
    )
    const coarse = new Array<number>(all.length).fill(0)
    for (const [layer, worth] of [
      [nines, 9],
      [threes, 3],
    ] as const)
      for (const position of layer) coarse[position & INDEX_MASK]! += position >= SIGN_BIT ? -worth : worth
    coarse.forEach((value, i) => {
      expect(Math.abs(value - (all[i] as number))).toBeLessThanOrEqual(1)
    })
  })

  test('have ascending positions', () => {
    for (const layer of layersOf(positionsOf(all), Uint16Array.from(all, Math.abs), 3)) {
      const indices = Array.from(layer, (position) => position & INDEX_MASK)
      expect(indices).toEqual(indices.toSorted((a, b) => a - b))
    }
  })
})
