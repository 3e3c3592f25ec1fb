/** What every TritCodec must do: give back the trits of any frame, and refuse bytes that no encoder writes. */
import { describe, expect, test } from 'vitest'
import { FRAME_CELLS } from '../../compress/codecs/frames.ts'
import type { FramePart, TritCodec } from '../../compress/codecs/trit-codec.ts'
import { CompressError } from '../../compress/errors.ts'
import { INDEX_MASK } from '../../compress/quantized-tensor.ts'
import { random } from '../fixtures/random.ts'
import { cutIntoFrames, encodeFrames, largestOfNormal, type TritTensor, tritTensor } from '../fixtures/trits.ts'

/** Decodes, or gives the error's code. Anything but a list of valid positions or CONTAINER_INVALID fails the test. */
export function decodeOrRefuse(
  codec: TritCodec,
  bytes: Uint8Array,
  parts: readonly FramePart[],
): Uint32Array[] | string {
  try {
    const decoded = codec.decodeFrame(bytes, parts)
    decoded.forEach((positions, p) => {
      let previous = -1
      for (const position of positions) {
        if ((position & INDEX_MASK) <= previous) throw new Error(`positions not ascending: ${positions}`)
        previous = position & INDEX_MASK
      }
      if (previous >= parts[p]!.cells) throw new Error(`position ${previous} of ${parts[p]!.cells} entries`)
    })
    return decoded
  } catch (error) {
    if (error instanceof CompressError) return error.code
    throw error
  }
}

function filled(rows: number, cols: number, trit: (i: number) => number): TritTensor {
  return tritTensor(
    rows,
    cols,
    Array.from({ length: rows * cols }, (_, i) => trit(i)),
  )
}

const CASES: Record<string, TritTensor[]> = {
  'a scalar': [filled(1, 1, () => -1)],
  'a tensor without non-zeros': [filled(9, 13, () => 0)],
  'a tensor without zeros, signs alternating': [filled(17, 31, (i) => (i % 2 === 0 ? 1 : -1))],
  'a single non-zero in the last place': [filled(40, 50, (i) => (i === 1999 ? -1 : 0))],
  'every third entry': [filled(64, 64, (i) => (i % 3 === 0 ? 1 : 0))],
  'one row': [largestOfNormal(1, 5000, 0.1, 1)],
  'one column': [largestOfNormal(5000, 1, 0.1, 2)],
  'dense rows and columns': [largestOfNormal(200, 300, 0.05, 3, 1)],
  'one row of ones among zeros': [filled(100, 100, (i) => (Math.floor(i / 100) === 37 ? 1 : 0))],
  'a few far apart': [filled(512, 512, (i) => (i % 60013 === 7 ? -1 : 0))],
  'several frames': [largestOfNormal(600, 1000, 0.05, 4, 0.5)],
  'rows longer than a frame': [filled(2, FRAME_CELLS + 5, (i) => (i % 977 === 0 ? 1 : 0))],
  'many tensors in one frame': Array.from({ length: 40 }, (_, i) => largestOfNormal(16, 20 + i, 0.2, i, 0.7)),
  'tensors of all kinds, one without entries': [
    largestOfNormal(3, 7, 0.5, 5),
    { rows: 0, cols: 5, positions: new Uint32Array(0) },
    largestOfNormal(300, 900, 0.1, 6, 0.5),
    filled(2, 2, () => 0),
    largestOfNormal(16, 384, 0.3, 7, 0.5),
  ],
}

export function tritCodecSuite(name: string, codec: TritCodec): void {
  describe(`trit codec (${name})`, () => {
    test.each(Object.keys(CASES))('gives back %s', (what) => {
      for (const { bytes, parts } of encodeFrames(codec, CASES[what]!)) {
        const decoded = codec.decodeFrame(bytes, parts)
        expect(decoded).toEqual(parts.map((part) => part.positions))
      }
    })

    test('reads the length of its side information from bytes that go on after it', () => {
      for (const part of cutIntoFrames(codec, CASES['many tensors in one frame']!).flat()) {
        const bytes = Uint8Array.from([9, 9, ...part.side, 0xff, 0xff])
        expect(codec.sideLength(bytes, 2, part.rows, part.cols)).toBe(part.side.length)
      }
    })

    test('refuses a frame cut off after any number of bytes', () => {
      for (const { bytes, parts } of smallFrames(codec)) {
        for (let length = 0; length < bytes.length; length++) {
          expect(decodeOrRefuse(codec, bytes.subarray(0, length), parts)).toBe('CONTAINER_INVALID')
        }
      }
    })

    test('refuses bytes after the end of a frame', () => {
      for (const { bytes, parts } of smallFrames(codec)) {
        for (const more of [0, 1, 0xff]) {
          expect(decodeOrRefuse(codec, Uint8Array.from([...bytes, more]), parts)).toBe('CONTAINER_INVALID')
        }
      }
    })

    test('decodes or refuses a frame with any one bit changed, and never gives the same trits', () => {
      for (const { bytes, parts } of smallFrames(codec)) {
        const original = codec.decodeFrame(bytes, parts)
        for (let bit = 0; bit < bytes.length * 8; bit++) {
          const damaged = bytes.slice()
          damaged[bit >> 3]! ^= 1 << (bit & 7)
          expect(decodeOrRefuse(codec, damaged, parts)).not.toEqual(original)
        }
      }
    })

    test('decodes or refuses random bytes', () => {
      const { parts } = smallFrames(codec)[0]!
      const uniform = random(11)
      for (let i = 0; i < 2000; i++) {
        const bytes = Uint8Array.from({ length: uniform() * 80 }, () => uniform() ** 2 * 256)
        decodeOrRefuse(codec, bytes, parts)
      }
    })
  })
}

function smallFrames(codec: TritCodec) {
  return [
    ...encodeFrames(codec, [largestOfNormal(30, 40, 0.2, 21, 0.8), largestOfNormal(5, 9, 0.4, 22)]),
    ...encodeFrames(codec, [largestOfNormal(3, 4, 0.4, 23)]),
    ...encodeFrames(codec, [filled(64, 256, (i) => (i % 1021 === 0 || i < 40 ? 1 : 0))]),
  ]
}
