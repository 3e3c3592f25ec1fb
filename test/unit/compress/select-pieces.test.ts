import { describe, expect, test } from 'vitest'
import type { TauPiece } from '../../../compress/kernels/tau-kernels.ts'
import { type MaskRule, selectPart } from '../../../compress/quantize.ts'
import { selectPieces, type TauSource } from '../../../compress/select-pieces.ts'
import { gaussian, random } from '../../fixtures/random.ts'

const PIECE = 2 ** 16
const SAMPLE = 512

/** An array as a tensor that goes by in pieces; `passes` counts how often it did. */
function sourceOf(tau: Float32Array, sampled: boolean): TauSource & { passes: number } {
  const piece = (first: number, end: number): TauPiece => ({
    first,
    values: new Uint8Array(tau.buffer, first * 4, (end - first) * 4),
    dtype: 'F32',
    origin: 0,
  })
  return {
    passes: 0,
    entries: tau.length,
    async *all() {
      this.passes++
      for (let first = 0; first < tau.length; first += PIECE) yield piece(first, Math.min(tau.length, first + PIECE))
    },
    sample() {
      if (!sampled) return undefined
      return (async function* () {
        for (let i = 0; i < 64; i++) {
          const first = Math.floor(((tau.length - SAMPLE) * i) / 63 / 4) * 4
          yield piece(first, first + SAMPLE)
        }
      })()
    },
  }
}

const normal = gaussian(1)
const uniform = random(2)
const N = 3 * PIECE + 77
const TENSORS: Record<string, Float32Array> = {
  'normal values': Float32Array.from({ length: N }, normal),
  'values with many ties': Float32Array.from({ length: N }, () => Math.round(normal() * 3) / 3),
  'mostly zeros': Float32Array.from({ length: N }, () => (uniform() < 0.01 ? normal() : 0)),
  'zeros alone': new Float32Array(N),
  'one value only': new Float32Array(N).fill(-0.5),
  'large values in one place, which a sample misses': Float32Array.from({ length: N }, (_, i) =>
    i > 4000 && i < 5500 ? normal() * 100 : uniform() * 1e-20,
  ),
  'a last row that is far larger': Float32Array.from({ length: N }, (_, i) => (i > N - 9000 ? 1e6 : 1) * normal()),
  'a handful of entries': Float32Array.of(3, -1, 0, 2, -2),
  'no entries': new Float32Array(0),
}

describe('selecting from pieces', () => {
  test.each(Object.keys(TENSORS))('keeps what selecting from the whole tensor keeps: %s', async (what) => {
    const tau = TENSORS[what]!
    for (const sampled of [false, tau.length > 1000]) {
      for (const density of [0.001, 0.05, 0.3, 0.95, 1]) {
        const mask: MaskRule = { scope: 'tensor', density }
        const { tau: _, ...whole } = selectPart('w', tau, mask, 0)
        expect(await selectPieces('w', sourceOf(tau, sampled), mask, 0, 2)).toEqual(whole)
      }
      const mask: MaskRule = { scope: 'global', thresholdBits: 0x3eaa_aaab, ties: [7] }
      const { tau: _, ...whole } = selectPart('w', tau, mask, 0)
      expect(await selectPieces('w', sourceOf(tau, sampled), mask, 0, 2)).toEqual(whole)
    }
  })

  test('reads a tensor once when the sample gives a bound', async () => {
    const source = sourceOf(TENSORS['normal values']!, true)
    await selectPieces('w', source, { scope: 'tensor', density: 0.1 }, 0)
    expect(source.passes).toBe(1)
  })

  test('names the tensor and index of a value that is not finite', async () => {
    const tau = TENSORS['normal values']!.slice()
    tau[PIECE + 5] = Number.NaN
    const selected = selectPieces('w', sourceOf(tau, true), { scope: 'tensor', density: 0.1 }, 0)
    await expect(selected).rejects.toMatchObject({ code: 'NOT_FINITE', detail: { tensor: 'w', index: PIECE + 5 } })
  })
})
