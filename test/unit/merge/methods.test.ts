import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { electAndSum } from '../../../merge/methods/elect-signs.ts'
import { keepLargest } from '../../../merge/methods/keep-largest.ts'
import { dropAtRandom, maskKey, threefry2x32 } from '../../../merge/methods/random-mask.ts'
import { sparsify } from '../../../merge/methods/sparsify.ts'
import { noise } from './models.ts'

const KEY = maskKey(0, 'sha256:00', 'w')

function bySorting(values: Float32Array, k: number): number[] {
  const order = [...values.keys()].sort((a, b) => Math.abs(values[b]!) - Math.abs(values[a]!) || a - b)
  const kept = new Set(order.slice(0, k))
  return [...values].map((value, i) => (kept.has(i) ? value : 0))
}

describe('keepLargest', () => {
  it('keeps what a stable sort by magnitude puts first, whatever the values', () => {
    const value = fc.oneof(fc.float({ noNaN: true }), fc.constantFrom(0, -0, 1, -1, 1.5, 1e-42, -1e-42))
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 60 }), fc.nat(60), (numbers, k) => {
        const values = Float32Array.from(numbers)
        const expected = bySorting(values, k)
        keepLargest(values, k)
        expect([...values].map((x) => x + 0)).toEqual(expected.map((x) => x + 0))
      }),
    )
  })

  it('keeps the lowest flat indices of equal magnitudes at the threshold', () => {
    const values = Float32Array.from([1, -2, 2, 2, -2, 0.5])
    keepLargest(values, 3)
    expect([...values]).toEqual([0, -2, 2, 2, 0, 0])
  })

  it('leaves values alone that are no more than k', () => {
    const values = Float32Array.from([1, 0, -3])
    keepLargest(values, 3)
    expect([...values]).toEqual([1, 0, -3])
  })
})

describe('the magnitude rule', () => {
  it('keeps floor(density * N) entries, and at least one', () => {
    const kept = (count: number, density: number) => {
      const values = noise(count, 3)
      sparsify(values, { rule: 'magnitude', density, rescale: false, key: KEY })
      return values.filter((value) => value !== 0).length
    }
    expect(kept(10, 0.39)).toBe(3)
    expect(kept(4, 0.1)).toBe(1)
    expect(kept(4, 0)).toBe(0)
    expect(kept(4, 1)).toBe(4)
  })
})

describe('the random generator', () => {
  it.each([
    [
      [0, 0],
      [0, 0],
      [0x6b200159, 0x99ba4efe],
    ],
    [
      [0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x1cb996fc, 0xbb002be7],
    ],
    [
      [0x13198a2e, 0x03707344],
      [0x243f6a88, 0x85a308d3],
      [0xc4923a9c, 0x483df7a0],
    ],
  ])('gives the published words of Threefry-2x32-20 for key %j and counter %j', (key, counter, expected) => {
    const out = new Uint32Array(2)
    threefry2x32({ low: key[0]!, high: key[1]! }, counter[0]!, counter[1]!, out)
    expect([...out]).toEqual(expected)
  })

  it('draws other masks for another seed, expert or tensor', () => {
    const masks = [maskKey(0, 'a', 'w'), maskKey(1, 'a', 'w'), maskKey(0, 'b', 'w'), maskKey(0, 'a', 'v')].map(
      (key) => {
        const values = new Float32Array(200).fill(1)
        dropAtRandom(values, 0.5, key)
        return values.join('')
      },
    )
    expect(new Set(masks).size).toBe(masks.length)
  })

  it('gives an entry the same fate in a tensor of any length', () => {
    const [short, long] = [new Float32Array(101).fill(1), new Float32Array(400).fill(1)]
    for (const values of [short, long]) dropAtRandom(values, 0.3, KEY)
    expect([...short]).toEqual([...long.subarray(0, 101)])
  })

  it.each([0.02, 0.3, 0.9])('keeps a share of %s within four sigma', (density) => {
    const count = 100_000
    const values = new Float32Array(count).fill(1)
    dropAtRandom(values, density, KEY)
    const kept = values.reduce((sum, value) => sum + value, 0) / count
    expect(Math.abs(kept - density)).toBeLessThan(4 * Math.sqrt((density * (1 - density)) / count))
  })
})

describe('rescaling', () => {
  it('restores the L1 norm of what was there before', () => {
    const values = noise(5000, 9)
    const norm = () => values.reduce((sum, value) => sum + Math.abs(value), 0)
    const before = norm()
    sparsify(values, { rule: 'random', density: 0.25, rescale: true, key: KEY })
    expect(norm() / before).toBeCloseTo(1, 6)
    expect(values.filter((value) => value === 0).length).toBeGreaterThan(3000)
  })

  it('leaves a tensor alone of which nothing is left', () => {
    const values = Float32Array.from([1, 2, 3])
    sparsify(values, { rule: 'random', density: 0, rescale: true, key: KEY })
    expect([...values]).toEqual([0, 0, 0])
  })
})

describe('sign election', () => {
  it('keeps the entries of the sign with the larger sum and divides by their weights', () => {
    const { num } = electAndSum(
      [Float32Array.from([1, -3]), Float32Array.from([2, 1]), Float32Array.from([-1, 0])],
      [0.5, 1, 1],
      true,
    )
    expect([...num]).toEqual([2, -6])
  })

  it('elects plus where the sum is zero, and counts no zero entry', () => {
    const { num } = electAndSum([Float32Array.from([2, 0]), Float32Array.from([-2, 0])], [1, 1], false)
    expect([...num]).toEqual([2, 0])
  })

  it('does not divide where the weights that count sum to zero', () => {
    const { num } = electAndSum([Float32Array.from([1]), Float32Array.from([2])], [1, -1], true)
    expect([...num]).toEqual([3])
  })

  it('says in which share of the changed entries inputs disagree', () => {
    const inputs = [Float32Array.from([1, 1, 0, 0]), Float32Array.from([-1, 1, 1, 0])]
    expect(electAndSum(inputs, [1, 1], false).conflictShare).toBeCloseTo(1 / 3)
  })

  it('is the same on both sides of a block boundary', () => {
    const count = 4096 + 37
    const inputs = [noise(count, 1), noise(count, 2), noise(count, 3)]
    const tail = inputs.map((values) => values.slice(4096))
    const whole = electAndSum(inputs, [1, 0.5, 0.25], true).num.slice(4096)
    expect([...whole]).toEqual([...electAndSum(tail, [1, 0.5, 0.25], true).num])
  })
})
