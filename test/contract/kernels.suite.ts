/** What every implementation of Kernels must do, against numbers worked out here and bit for bit against jsKernels. */
import { describe, expect, test } from 'vitest'
import { jsKernels } from '../../compress/kernels/js.ts'
import type { Kernels } from '../../compress/kernels/kernels.ts'
import { SIGN_BIT } from '../../compress/quantized-tensor.ts'
import { randomFloats, randomWords } from '../fixtures/random.ts'

const NAN = 0x7fc0_0000
/** Every class of f32: zeros, subnormals, edges of f16, infinities, quiet and signalling NaNs with payload. */
const SPECIAL = Uint32Array.of(
  0,
  0x8000_0000,
  1,
  0x8000_0001,
  0x007f_ffff,
  0x0080_0000,
  0x3380_0000,
  0x3300_0000,
  0x3300_0001,
  0x3340_0000,
  0x387f_ffff,
  0x3880_0000,
  0x387f_c000,
  0x387f_e000,
  0x477f_e000,
  0x477f_efff,
  0x477f_f000,
  0x4780_0000,
  0x7f7f_ffff,
  0x7f80_0000,
  0xff80_0000,
  0x7f80_0001,
  0xffa0_0000,
  0x7fc0_0000,
  0xffff_ffff,
  0x7fc1_2345,
  0x3f80_0000,
  0xbf80_0000,
  0x3f80_8000,
  0x3f81_8000,
  0x3f80_8001,
  0x7f7f_8000,
  0x3f80_1000,
  0x3f80_3000,
  0x3f80_2fff,
)
/** Around the widths of vectors and of chunks. */
const LENGTHS = [0, 1, 2, 3, 4, 5, 7, 15, 16, 17, 31, 33, 1000, 40001, 65536, 65541]

function floats(bits: ArrayLike<number>): Float32Array {
  return new Float32Array(Uint32Array.from(bits).buffer)
}

function bitsOf(x: Float32Array): Uint32Array {
  return new Uint32Array(x.buffer, x.byteOffset, x.length)
}

/** n values of any bit pattern, special ones among them. */
function anyFloats(n: number, seed: number): Float32Array {
  const words = randomWords(n, seed)
  for (let i = 0; i < n; i += 3) words[i] = SPECIAL[(i / 3) % SPECIAL.length]!
  return floats(words)
}

/** Finite values of both signs with zeros among them, many equal in their high half. */
function ordinaryFloats(n: number, seed: number): Float32Array {
  return randomFloats(n, seed).map((value, i) => (i % 11 === 0 ? 0 : i % 5 === 0 ? 1 + value / 1000 : value))
}

export function kernelsSuite(name: string, make: () => Kernels): void {
  describe(`kernels (${name})`, () => {
    const kernels = make()

    describe('conversion', () => {
      const allHalves = Uint16Array.from({ length: 65536 }, (_, i) => i)

      test('widening every bf16 pattern appends sixteen zero bits', () => {
        const out = new Float32Array(65536)
        kernels.widen(allHalves, 'BF16', out)
        expect(bitsOf(out)).toEqual(Uint32Array.from(allHalves, (half) => half << 16))
      })

      test('widening f16 gives the value that its fields spell, with infinities and NaN payloads kept', () => {
        const out = new Float32Array(65536)
        kernels.widen(allHalves, 'F16', out)
        for (let half = 0; half < 65536; half++) {
          const exponent = (half >> 10) & 31
          const fraction = half & 1023
          const sign = half >> 15 ? -1 : 1
          if (exponent === 31) {
            const expected = ((half & 0x8000) << 16) | 0x7f80_0000 | (fraction << 13)
            expect(bitsOf(out)[half]).toBe(expected >>> 0)
          } else {
            const value = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25)
            if (!Object.is(out[half], sign * value)) expect(out[half]).toBe(sign * value)
          }
        }
      })

      test.each(['F16', 'BF16'] as const)('narrowing undoes widening for every %s pattern', (dtype) => {
        const wide = new Float32Array(65536)
        const back = new Uint16Array(65536)
        kernels.widen(allHalves, dtype, wide)
        kernels.narrow(wide, dtype, back)
        const quiet = dtype === 'F16' ? 0x200 : 0x40
        const infinity = dtype === 'F16' ? 0x7c00 : 0x7f80
        expect(back).toEqual(allHalves.map((half) => ((half & 0x7fff) > infinity ? half | quiet : half)))
      })

      test('narrowing to f16 rounds to the nearest, ties to even, and overflows from 65520 on', () => {
        const values = Float32Array.of(
          1 + 2 ** -11,
          1 + 3 * 2 ** -11,
          2 ** -25,
          2 ** -25 * 1.5,
          65519.99,
          65520,
          -65536,
        )
        const out = new Uint16Array(values.length)
        kernels.narrow(values, 'F16', out)
        expect([...out]).toEqual([0x3c00, 0x3c02, 0, 1, 0x7bff, 0x7c00, 0xfc00])
      })

      test('narrowing to bf16 rounds to the nearest, ties to even, and may round up to infinity', () => {
        const values = floats([0x3f80_8000, 0x3f81_8000, 0x3f80_8001, 0x7f7f_ffff, 0x8000_7fff, 0x7f80_0001])
        const out = new Uint16Array(values.length)
        kernels.narrow(values, 'BF16', out)
        expect([...out]).toEqual([0x3f80, 0x3f82, 0x3f81, 0x7f80, 0x8000, 0x7fc0])
      })
    })

    describe('elementwise arithmetic', () => {
      test('subtract works in f32 and gives one NaN for all that have no value', () => {
        const acc = floats([0x3f80_0000, 0x7f80_0000, 0xff80_0001, 1, 0x8000_0000])
        kernels.subtract(acc, floats([0x3f00_0000, 0x7f80_0000, 0, 2, 0x8000_0000]))
        expect([...bitsOf(acc)]).toEqual([0x3f00_0000, NAN, NAN, 0x8000_0001, 0])
      })

      test('axpy rounds weight, product and sum to f32 one after another', () => {
        const acc = Float32Array.of(1, 1)
        const x = Float32Array.of(1 + 2 ** -23, 3)
        kernels.axpy(acc, x, 0.1)
        const weight = Math.fround(0.1)
        expect(acc[0]).toBe(Math.fround(1 + Math.fround(weight * x[0]!)))
        expect(acc[1]).toBe(Math.fround(1 + Math.fround(weight * 3)))
      })

      test('arguments of different lengths are refused', () => {
        expect(() => kernels.subtract(new Float32Array(3), new Float32Array(4))).toThrow('differ in length')
        expect(() => kernels.widen(new Uint16Array(3), 'F16', new Float32Array(2))).toThrow('differ in length')
      })

      test('values outside a subarray are left alone', () => {
        const whole = new Float32Array(9).fill(5)
        kernels.axpy(whole.subarray(2, 5), Float32Array.of(1, 1, 1), 1)
        expect([...whole]).toEqual([5, 5, 6, 6, 6, 5, 5, 5, 5])
      })
    })

    describe('moments', () => {
      test('sums add lane by lane, entry i in lane i mod 4, and the lanes pairwise', () => {
        const x = Float32Array.of(2 ** 60, 1, -(2 ** 60), 1, 1, -3)
        const { sum, sumSquares, sumMagnitudes, nonFinite } = kernels.moments(x)
        expect(sum).toBe(laneSum([...x]))
        expect(sumSquares).toBe(laneSum([...x].map((v) => v * v)))
        expect(sumMagnitudes).toBe(laneSum([...x].map(Math.abs)))
        expect(nonFinite).toBe(-1)
      })

      test.each([0, 3, 4, 65535, 65536, 65540])('the first NaN or infinity is found at index %i', (index) => {
        const x = new Float32Array(70000).fill(1)
        x[index] = Number.NaN
        x[index + 2] = Number.POSITIVE_INFINITY
        expect(kernels.moments(x).nonFinite).toBe(index)
      })
    })

    describe('histograms', () => {
      test('the high histogram counts bits 30 to 16, whatever the sign, on top of what is there', () => {
        const counts = new Uint32Array(32768)
        counts[0x3f80] = 7
        kernels.histogramHigh(floats([0x3f80_0000, 0xbf80_ffff, 0x8000_0000, 0x7fc0_0000]), counts)
        expect([counts[0x3f80], counts[0], counts[0x7fc0]]).toEqual([9, 1, 1])
      })

      test('the low histogram counts bits 15 to 0 of one high bin', () => {
        const counts = new Uint32Array(65536)
        kernels.histogramLow(floats([0x3f80_0000, 0xbf80_ffff, 0x3f81_ffff, 0x3f80_ffff]), 0x3f80, counts)
        expect([counts[0], counts[0xffff]]).toEqual([1, 2])
      })
    })

    describe('select', () => {
      test('keeps magnitudes above the threshold and the first ties, with their signs, in order', () => {
        const x = Float32Array.of(2, -1, 0.5, 1, -3, -1, 1)
        expect([...kernels.select(x, bitsOf(Float32Array.of(1))[0]!, 2)]).toEqual([
          0,
          (1 | SIGN_BIT) >>> 0,
          3,
          (4 | SIGN_BIT) >>> 0,
        ])
      })

      test('never keeps a zero, even where the threshold is zero and ties are wanted', () => {
        expect([...kernels.select(floats([0, 0x8000_0000, 1, 0x8000_0001]), 0, 4)]).toEqual([2, (3 | SIGN_BIT) >>> 0])
      })
    })

    test('marginals count the non-zeros of each row and column', () => {
      const { rowCounts, colCounts } = kernels.marginals(Uint32Array.of(0, (2 | SIGN_BIT) >>> 0, 9, 11), 4, 3)
      expect([...rowCounts]).toEqual([2, 0, 0, 2])
      expect([...colCounts]).toEqual([2, 0, 2])
    })

    describe('matmulAdd', () => {
      test('adds factor times the product', () => {
        const out = Float32Array.of(1, 1, 1, 1)
        kernels.matmulAdd(out, Float32Array.of(1, 2, 3, 4), Float32Array.of(5, 6, 7, 8), 2, 2, 2, 0.5)
        expect([...out]).toEqual([10.5, 12, 22.5, 26])
      })

      test('sums in the order of k with each product and sum rounded to f32', () => {
        const a = randomFloats(37, 1)
        const b = randomFloats(37 * 16, 2)
        const out = new Float32Array(16)
        kernels.matmulAdd(out, a, b, 1, 37, 16, 1)
        for (let j = 0; j < 16; j++) {
          let sum = 0
          for (let l = 0; l < 37; l++) sum = Math.fround(sum + Math.fround(a[l]! * b[l * 16 + j]!))
          expect(out[j]).toBe(sum)
        }
      })
    })
  })
}

/** That an implementation gives the same bits as jsKernels for any input. */
export function kernelsParitySuite(name: string, make: () => Kernels): void {
  describe(`kernels (${name}), compared with the reference`, () => {
    const kernels = make()

    test.each(LENGTHS)('widen and narrow give the same bits at length %i', (n) => {
      const values = anyFloats(n, n + 1)
      for (const dtype of ['F16', 'BF16'] as const) {
        const halves = [new Uint16Array(n), new Uint16Array(n)]
        jsKernels.narrow(values, dtype, halves[0]!)
        kernels.narrow(values, dtype, halves[1]!)
        expect(halves[1]).toEqual(halves[0])
        const random = Uint16Array.from(randomWords(n, n + 2))
        const wide = [new Float32Array(n), new Float32Array(n)]
        jsKernels.widen(random, dtype, wide[0]!)
        kernels.widen(random, dtype, wide[1]!)
        expect(bitsOf(wide[1]!)).toEqual(bitsOf(wide[0]!))
      }
    })

    test.each(LENGTHS)('subtract and axpy give the same bits at length %i', (n) => {
      const x = anyFloats(n, n)
      for (const weight of [1, -0.3, 1e-42, 0]) {
        const results = [jsKernels, kernels].map((implementation) => {
          const acc = anyFloats(n, n + 7)
          implementation.subtract(acc, x)
          implementation.axpy(acc, x, weight)
          return bitsOf(acc)
        })
        expect(results[1]).toEqual(results[0])
      }
    })

    test.each(LENGTHS)('moments are the same at length %i', (n) => {
      for (const x of [ordinaryFloats(n, n), anyFloats(n, n)]) expect(kernels.moments(x)).toEqual(jsKernels.moments(x))
    })

    test.each(LENGTHS)('histograms are the same at length %i', (n) => {
      for (const x of [ordinaryFloats(n, n), anyFloats(n, n)]) {
        const results = [jsKernels, kernels].map((implementation) => {
          const high = new Uint32Array(32768).fill(1)
          const low = new Uint32Array(65536).fill(2)
          implementation.histogramHigh(x, high)
          implementation.histogramLow(x, 0x3f80, low)
          implementation.histogramLow(x, 0, low)
          return { high, low }
        })
        expect(results[1]).toEqual(results[0])
      }
    })

    test.each(LENGTHS)('select keeps the same at length %i for thresholds with many and few ties', (n) => {
      const x = ordinaryFloats(n, n + 3).map((value) => Math.round(value * 8) / 8)
      for (const threshold of [0, 0.125, 0.5, 1, 100]) {
        const bits = bitsOf(Float32Array.of(threshold))[0]!
        for (const ties of [0, 1, 17, n]) expect(kernels.select(x, bits, ties)).toEqual(jsKernels.select(x, bits, ties))
      }
    })

    test.each([
      [1, 1, 1],
      [2, 3, 17],
      [3, 16, 64],
      [5, 0, 9],
      [0, 4, 4],
      [4, 4, 0],
      [7, 33, 300],
      [2, 5000, 20],
      [300, 1, 1000],
    ])('matmulAdd gives the same bits for %i x %i x %i, special values included', (m, k, n) => {
      for (const make of [randomFloats, anyFloats]) {
        const a = make(m * k, 1)
        const b = make(k * n, 2)
        const results = [jsKernels, kernels].map((implementation) => {
          const out = make(m * n, 3)
          implementation.matmulAdd(out, a, b, m, k, n, -0.3)
          return bitsOf(out)
        })
        expect(results[1]).toEqual(results[0])
      }
    })

    test('a right factor larger than the working memory is taken in blocks of columns', () => {
      const [m, k, n] = [2, 3000, 1500]
      const a = randomFloats(m * k, 4)
      const b = randomFloats(k * n, 5)
      const out = [new Float32Array(m * n), new Float32Array(m * n)]
      jsKernels.matmulAdd(out[0]!, a, b, m, k, n, 2)
      kernels.matmulAdd(out[1]!, a, b, m, k, n, 2)
      expect(out[1]).toEqual(out[0])
    })
  })
}

function laneSum(values: number[]): number {
  const lanes = [0, 0, 0, 0]
  values.forEach((value, i) => {
    lanes[i % 4]! += value
  })
  return lanes[0]! + lanes[1]! + (lanes[2]! + lanes[3]!)
}
