import { describe, expect, test } from 'vitest'
import { applyTrits, interleave } from '../../../../compress/codecs/trit-values.ts'
import { SIGN_BIT } from '../../../../compress/quantized-tensor.ts'

const positions = Uint32Array.of(0, (3 | SIGN_BIT) >>> 0, 5)

/** Pairs of `add`: each scale and its negative, as f32 bits. */
function pairsOf(...scales: number[]): Uint32Array {
  const bits = (sign: number) => new Uint32Array(Float32Array.from(scales, (scale) => sign * scale).buffer)
  return interleave(bits(1), bits(-1))
}

/** A part of six entries of a tensor with rows of three, from `start`. */
function addTo(out: Float32Array, start: number, axis: 'tensor' | 'row' | 'column', pairs: Uint32Array): number[] {
  const part = { rows: 4, cols: 3, start, cells: out.length, side: new Uint8Array(0) }
  applyTrits(positions, part, { operation: 'add', dtype: 'F32', axis, pairs, from: out, out })
  return [...out]
}

describe('adding trits', () => {
  test('adds one scale for all, with the sign of each position', () => {
    const acc = new Float32Array(8).fill(1)
    addTo(acc.subarray(2), 0, 'tensor', pairsOf(0.5))
    expect([...acc]).toEqual([1, 1, 1.5, 1, 1, 0.5, 1, 1.5])
  })

  test('finds the row or column of a position from where the part starts in its tensor', () => {
    const pairs = pairsOf(10, 20, 30, 40)
    expect(addTo(new Float32Array(6), 4, 'row', pairs)).toEqual([20, 0, 0, -30, 0, 40])
    expect(addTo(new Float32Array(6), 4, 'column', pairs)).toEqual([20, 0, 0, -20, 0, 10])
  })
})
