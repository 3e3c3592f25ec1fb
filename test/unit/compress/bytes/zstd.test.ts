import { describe, expect, test } from 'vitest'
import { compress, decodeFrameNative, decompress } from '../../../../compress/bytes/zstd.ts'
import { FRAME_RAW_BYTES, listFrames } from '../../../../compress/bytes/zstd-frame.ts'
import { decodeFramePortable } from '../../../../compress/bytes/zstd-portable.ts'

/** Bytes with some structure and some noise, the same every time. */
function sample(length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let state = 1
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[i] = i % 3 === 0 ? state >>> 24 : i >>> 8
  }
  return bytes
}

function set(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice()
  copy[at] = value
  return copy
}

const rejected = { code: 'CONTAINER_INVALID' }

describe.each([
  ['node:zlib', decodeFrameNative],
  ['zstd-codec', decodeFramePortable],
])('zstd runs decoded by %s', (_, decode) => {
  test.each([1, 2, 255, 256, 70_000])('give back %i bytes', async (length) => {
    const raw = sample(length)
    for (const level of [1, 3, 19])
      expect(await decompress(await compress(raw, level), length, 'x', decode)).toEqual(raw)
  })

  test('give back what needs several frames', async () => {
    const raw = sample(2 * FRAME_RAW_BYTES + 5)
    const run = await compress(raw, 1)
    expect(listFrames(run, raw.length, 'x').map(({ rawLength }) => rawLength)).toEqual([
      FRAME_RAW_BYTES,
      FRAME_RAW_BYTES,
      5,
    ])
    expect(Buffer.compare(await decompress(run, raw.length, 'x', decode), raw)).toBe(0)
  })

  test('are refused with a damaged block, and with a damaged checksum', async () => {
    const run = await compress(sample(5000), 3)
    const middle = run.length >> 1
    await expect(decompress(set(run, middle, run[middle]! ^ 0x10), 5000, 'x', decode)).rejects.toMatchObject(rejected)
    const last = run.length - 1
    await expect(decompress(set(run, last, run[last]! ^ 1), 5000, 'x', decode)).rejects.toMatchObject(rejected)
  })
})

describe('a zstd run', () => {
  test('of nothing is nothing', async () => {
    expect(await compress(new Uint8Array(0), 3)).toEqual(new Uint8Array(0))
    expect(await decompress(new Uint8Array(0), 0, 'x')).toEqual(new Uint8Array(0))
  })

  test('is refused at every length it can be cut to', async () => {
    const run = await compress(sample(300), 3)
    for (let length = 0; length < run.length; length++)
      await expect(decompress(run.subarray(0, length), 300, 'x')).rejects.toMatchObject(rejected)
  })

  test.each([
    ['another raw length than promised', (run: Uint8Array) => run, 301],
    ['bytes after its end', (run: Uint8Array) => Uint8Array.from([...run, 0]), 300],
    ['no magic', (run: Uint8Array) => set(run, 0, 0x29), 300],
    ['no checksum', (run: Uint8Array) => set(run, 4, run[4]! & ~0x04), 300],
    ['a dictionary', (run: Uint8Array) => set(run, 4, run[4]! | 0x01), 300],
    ['a reserved bit', (run: Uint8Array) => set(run, 4, run[4]! | 0x08), 300],
    ['an unused bit', (run: Uint8Array) => set(run, 4, run[4]! | 0x10), 300],
    ['a block of the reserved type', (run: Uint8Array) => set(run, 7, run[7]! | 0x06), 300],
    ['a block larger than blocks are', (run: Uint8Array) => set(run, 9, 0xff), 300],
  ])('is refused with %s', async (_, damage, rawLength) => {
    const run = await compress(sample(300), 3)
    expect([...run.subarray(4, 7)]).toEqual([0x64, 44, 0])
    await expect(decompress(damage(run), rawLength, 'x')).rejects.toMatchObject(rejected)
  })

  test('is refused when a frame asks for more memory than a window may take', () => {
    // No single segment, window 2^23, content size 4 bytes, one empty raw block, checksum.
    const frame = (window: number) =>
      Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0x84, window, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    expect(listFrames(frame(12 << 3), 1, 'x')).toHaveLength(1)
    expect(() => listFrames(frame((12 << 3) | 1), 1, 'x')).toThrow('a zstd window of 4718592 bytes')
    expect(() => listFrames(frame(13 << 3), 1, 'x')).toThrow('a zstd window of 8388608 bytes')
  })

  test('is refused when it states no size', () => {
    const frame = Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x60, 1, 0, 0, 0, 0, 0, 0])
    expect(() => listFrames(frame, 1, 'x')).toThrow('does not state its content size')
  })

  test('is refused when a frame decodes to more than it states, before that memory is taken', async () => {
    // States 1 byte, then one RLE block of 2^17.
    const frame = Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0x24, 1, 3, 0, 16, 7, 0, 0, 0, 0])
    await expect(decompress(frame, 1, 'x')).rejects.toMatchObject(rejected)
    await expect(decompress(frame, 1, 'x', decodeFramePortable)).rejects.toMatchObject(rejected)
  })

  test('names what it was part of', async () => {
    await expect(decompress(new Uint8Array(5), 9, 'chunk 3 of w')).rejects.toThrow('chunk 3 of w: no zstd frame')
  })
})
