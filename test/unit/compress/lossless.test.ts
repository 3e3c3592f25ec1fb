import { describe, expect, test } from 'vitest'
import { crc32 } from '../../../compress/bytes/crc32.ts'
import { CHUNK_BYTES, chunkCount, chunkLength, packLossless, unpackChunk } from '../../../compress/lossless.ts'

function noise(length: number, seed = 1): Uint8Array {
  let state = seed
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state >>> 24
  })
}

async function unpack(chunks: readonly Uint8Array[], length: number, elementSize: number, reference?: Uint8Array) {
  const pieces = await Promise.all(
    chunks.map((chunk, i) => {
      const start = i * CHUNK_BYTES
      const rawLength = chunkLength(length, i)
      return unpackChunk(chunk, rawLength, elementSize, 'x', reference?.subarray(start, start + rawLength))
    }),
  )
  return new Uint8Array(Buffer.concat(pieces))
}

describe('the lossless codec', () => {
  test('packs weights by their exponents and gives them back', async () => {
    const bytes = new Uint8Array(Float32Array.from({ length: 3000 }, (_, i) => Math.sin(i) / 50).buffer)
    const { chunks, referenceCrc } = await packLossless(bytes, 4)
    expect(referenceCrc).toBeNull()
    expect(chunks).toHaveLength(1)
    expect(chunks[0]!.length).toBeLessThan(0.95 * bytes.length)
    expect(await unpack(chunks, bytes.length, 4)).toEqual(bytes)
  })

  test('stores noise as it is', async () => {
    const bytes = noise(1000)
    expect((await packLossless(bytes, 1)).chunks).toEqual([bytes])
  })

  test('cuts large tensors into chunks', async () => {
    const bytes = new Uint8Array(CHUNK_BYTES + 6)
    bytes.set(noise(56), CHUNK_BYTES - 50)
    const { chunks } = await packLossless(bytes, 2)
    expect(chunks).toHaveLength(chunkCount(bytes.length))
    expect(Buffer.compare(await unpack(chunks, bytes.length, 2), bytes)).toBe(0)
  })

  test('packs a tensor that the fine-tune left alone into next to nothing', async () => {
    const bytes = noise(4000)
    const { chunks, referenceCrc } = await packLossless(bytes, 4, bytes.slice())
    expect(referenceCrc).toBe(crc32(bytes))
    expect(chunks[0]!.length).toBeLessThan(40)
    expect(await unpack(chunks, bytes.length, 4, bytes)).toEqual(bytes)
  })

  test('ignores a reference that saves nothing', async () => {
    const bytes = new Uint8Array(4000).fill(3)
    const { chunks, referenceCrc } = await packLossless(bytes, 4, noise(4000))
    expect(referenceCrc).toBeNull()
    expect(await unpack(chunks, bytes.length, 4)).toEqual(bytes)
  })

  test('has no chunk for a tensor without bytes', async () => {
    expect((await packLossless(new Uint8Array(0), 4)).chunks).toEqual([])
  })

  test('stops when it is told to', async () => {
    await expect(packLossless(noise(10), 1, undefined, AbortSignal.abort())).rejects.toThrow('aborted')
  })
})
