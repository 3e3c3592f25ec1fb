import { describe, expect, test } from 'vitest'
import { containerPrefix } from '../../../compress/container-prefix.ts'
import { reconstructedSource, taskVectorSource } from '../../../compress/reconstruct.ts'
import { type ByteSource, memorySource } from '../../../tensors/byte-source.ts'
import { fromF32, toF32 } from '../../../tensors/dtype.ts'
import { refusalOf } from '../../fixtures/refusal.ts'
import { buildContainer, oneScale, openBytes } from './container-builder.ts'

const BIAS = fromF32(Float32Array.of(1, 2, 3), 'F32')
/** Levels -13, -4, -1, 0, 1, 5, 8, 13 as digits worth 9, 3 and 1; the scale is 0.5. */
const LEVELS = [-13, -4, -1, 0, 1, 5, 8, 13]
const LAYERS = [
  [-1, 0, 0, 0, 0, 1, 1, 1],
  [-1, -1, 0, 0, 0, -1, 0, 1],
  [-1, -1, -1, 0, 1, -1, -1, 1],
] as const

function container(dtype: 'F32' | 'BF16' = 'F32'): Promise<Uint8Array> {
  const [trits, ...finer] = LAYERS
  const w = { name: 'w', dtype, shape: [2, 4], trits, finer, scales: oneScale(0.5) } as const
  return buildContainer({ tensors: [w, { name: 'b', dtype: 'F32', shape: [3], bytes: BIAS }] })
}

async function prefixOf(source: ByteSource, layers: number): Promise<Uint8Array> {
  const { size, head, payload } = await containerPrefix(source, layers)
  const bytes = new Uint8Array(Buffer.concat([head, await source.read(payload.start, payload.end)]))
  expect(bytes.length).toBe(size)
  return bytes
}

describe('a container of several layers', () => {
  test.each(['F32', 'BF16'] as const)('is the sum of them, as %s', async (dtype) => {
    const weights = reconstructedSource(await openBytes(await container(dtype)))
    expect([...toF32(await weights.readBytes('w'), dtype)]).toEqual(LEVELS.map((level) => level * 0.5))
  })

  test('adds to what is there, with a weight and a gain', async () => {
    const acc = new Float32Array(8).fill(1)
    await taskVectorSource(await openBytes(await container()), { gain: 2 }).addTo?.('w', acc, 3)
    expect([...acc]).toEqual(LEVELS.map((level) => 1 + level * 3))
  })

  test('gives its layers and its lossless tensors', async () => {
    const file = await openBytes(await container())
    await file.verify()
    expect(file.layers).toEqual([9, 3, 1])
    expect((await file.readTrits('w')).finer).toHaveLength(2)
    expect(await file.readLossless('b')).toEqual(BIAS)
  })
})

describe('the first layers of a container', () => {
  test.each([
    [1, [9], [-4.5, 0, 0, 0, 0, 4.5, 4.5, 4.5]],
    [2, [9, 3], [-6, -1.5, 0, 0, 0, 3, 4.5, 6]],
  ])('%i of 3 are a container of their own', async (layers, worths, values) => {
    const file = await openBytes(await prefixOf(memorySource(await container()), layers))
    await file.verify()
    expect(file.layers).toEqual(worths)
    expect([...(await reconstructedSource(file).read('w'))]).toEqual(values)
    expect(await file.readLossless('b')).toEqual(BIAS)
  })

  test('that are all of them are the container as it is', async () => {
    const bytes = await container()
    expect(await prefixOf(memorySource(bytes), 3)).toEqual(bytes)
  })

  test('of a prefix are those of the whole', async () => {
    const source = memorySource(await container())
    expect(await prefixOf(memorySource(await prefixOf(source, 2)), 1)).toEqual(await prefixOf(source, 1))
  })

  test.each([0, 4, 1.5, Number.NaN])('that it does not have are refused: %d', async (layers) => {
    const source = memorySource(await container())
    expect(await refusalOf(() => containerPrefix(source, layers))).toMatchObject({ code: 'PARAMETER_INVALID' })
  })
})
