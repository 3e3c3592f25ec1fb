import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bitplane } from '../../compress/codecs/bitplane.ts'
import { rice } from '../../compress/codecs/rice.ts'
import { sgr, sgrWith } from '../../compress/codecs/sgr.ts'
import { encodeStrataFrame } from '../../compress/codecs/sgr-frame.ts'
import { referenceCoder } from '../../compress/codecs/sgr-reference.ts'
import { wasmCoder } from '../../compress/codecs/sgr-wasm.ts'
import type { TritCodec } from '../../compress/codecs/trit-codec.ts'
import { CompressError } from '../../compress/errors.ts'
import { wasmHeap } from '../../compress/kernels/wasm-heap.ts'
import { decodeOrRefuse } from '../contract/trit-codec.suite.ts'
import { random } from '../fixtures/random.ts'
import { cutIntoFrames, encodeFrames, type TritTensor, tritTensor } from '../fixtures/trits.ts'

const reference = sgrWith(referenceCoder)
const CODECS: [string, TritCodec][] = [
  ['bitplane', bitplane],
  ['rice', rice],
  ['sgr', sgr],
]

/** Tensors whose rows and columns have densities of their own, some none at all, some full. */
const tensor: fc.Arbitrary<TritTensor> = fc
  .record({
    rows: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.constant(1), fc.constant(150)),
    cols: fc.oneof(fc.integer({ min: 1, max: 60 }), fc.constant(1), fc.constant(300)),
    seed: fc.integer(),
    density: fc.constantFrom(0, 0.001, 0.02, 0.05, 0.2, 0.5, 0.95, 1),
    spread: fc.constantFrom(0, 0, 1, 3),
    period: fc.constantFrom(0, 0, 0, 7, 16),
  })
  .map(({ rows, cols, seed, density, spread, period }) => {
    const uniform = random(seed)
    const rowWeight = Array.from({ length: rows }, () => Math.exp(spread * (uniform() - 0.7)))
    const colWeight = Array.from({ length: cols }, () => Math.exp(spread * (uniform() - 0.7)))
    const isKept = (i: number) =>
      period > 0 ? i % period === 0 : uniform() < density * rowWeight[Math.floor(i / cols)]! * colWeight[i % cols]!
    return tritTensor(
      rows,
      cols,
      Array.from({ length: rows * cols }, (_, i) => (isKept(i) ? (uniform() < 0.5 ? -1 : 1) : 0)),
    )
  })

const tensors = fc.array(tensor, { minLength: 1, maxLength: 5 })

describe.each(CODECS)('%s', (_, codec) => {
  test('gives back the trits of any tensors', () => {
    fc.assert(
      fc.property(tensors, (list) => {
        for (const { bytes, parts } of encodeFrames(codec, list)) {
          expect(codec.decodeFrame(bytes, parts)).toEqual(parts.map((part) => part.positions))
        }
      }),
      { numRuns: 60 },
    )
  })

  test('decodes or refuses any damage to a frame', () => {
    fc.assert(
      fc.property(tensors, fc.array(fc.nat(), { minLength: 1, maxLength: 6 }), (list, places) => {
        for (const { bytes, parts } of encodeFrames(codec, list)) {
          const damaged = bytes.slice()
          for (const place of places) damaged[place % bytes.length]! ^= 1 << (place % 8)
          decodeOrRefuse(codec, damaged, parts)
          decodeOrRefuse(codec, damaged.subarray(0, places[0]! % bytes.length), parts)
        }
      }),
      { numRuns: 150 },
    )
  })

  test('decodes or refuses any bytes', () => {
    const shapes = cutIntoFrames(codec, [
      tritTensor(8, 9, new Array(72).fill(0)),
      tritTensor(1, 5, [1, 0, 0, 0, 0]),
    ]).flat()
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        decodeOrRefuse(codec, bytes, shapes)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('sgr and its two implementations', () => {
  test('the reference and the WebAssembly loops write the same bytes', () => {
    const wasm = wasmCoder(wasmHeap()!)
    fc.assert(
      fc.property(tensors, (list) => {
        for (const parts of cutIntoFrames(sgr, list)) {
          expect(encodeStrataFrame(wasm, parts)).toEqual(encodeStrataFrame(referenceCoder, parts))
        }
      }),
      { numRuns: 60 },
    )
  })

  test('the reference and the WebAssembly loops read and refuse the same frames', () => {
    const wasm = wasmCoder(wasmHeap()!)
    fc.assert(
      fc.property(tensors, fc.array(fc.nat(), { maxLength: 3 }), (list, places) => {
        for (const parts of cutIntoFrames(sgr, list)) {
          const bytes = encodeStrataFrame(wasm, parts)
          for (const place of places) bytes[place % bytes.length]! ^= 1 << (place % 8)
          expect(decodeOrRefuse(sgr, bytes, parts)).toEqual(decodeOrRefuse(reference, bytes, parts))
        }
      }),
      { numRuns: 100 },
    )
  })

  test('any bytes are side information of some length within them, or refused', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 40 }),
        fc.integer({ min: 1, max: 70 }),
        fc.integer({ min: 1, max: 70 }),
        (bytes, rows, cols) => {
          try {
            const length = sgr.sideLength(bytes, 0, rows, cols)
            expect(length).toBeGreaterThan(0)
            expect(length).toBeLessThanOrEqual(bytes.length)
          } catch (error) {
            expect(error).toBeInstanceOf(CompressError)
          }
        },
      ),
      { numRuns: 2000 },
    )
  })

  test('a frame is never more than one byte longer than its Rice form', () => {
    fc.assert(
      fc.property(tensors, (list) => {
        for (const parts of cutIntoFrames(sgr, list)) {
          expect(sgr.encodeFrame(parts).length).toBeLessThanOrEqual(rice.encodeFrame(parts).length + 1)
        }
      }),
      { numRuns: 60 },
    )
  })
})
