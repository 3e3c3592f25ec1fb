import { describe, expect, test } from 'vitest'
import { encodeRiceFrame } from '../../../compress/codecs/rice.ts'
import { buildContainer, oneScale, openBytes, putTogether, takeApart, withStored } from './container-builder.ts'

const noise = Uint8Array.from({ length: 500 }, (_, i) => (i * i * 167) >>> 3)
const smooth = new Uint8Array(Float32Array.from({ length: 500 }, (_, i) => i / 7).buffer)
const file = await buildContainer({
  tensors: [
    { name: 'w', dtype: 'F32', shape: [8, 8], trits: new Int8Array(64).fill(-1, 3, 9), scales: oneScale(1) },
    { name: 'v', dtype: 'F16', shape: [9], trits: new Int8Array(9).fill(1, 1, 3), scales: oneScale(2) },
    { name: 'noise', dtype: 'U8', shape: [500], bytes: noise },
    { name: 'smooth', dtype: 'F32', shape: [500], bytes: smooth },
    { name: 'frozen', dtype: 'F32', shape: [500], bytes: smooth, reference: smooth.slice() },
  ],
})
const NOISE = 1
const SMOOTH = 2

function damaged(fromEnd: number): Uint8Array {
  const bytes = file.slice()
  bytes[bytes.length - fromEnd]! ^= 0x40
  return bytes
}

describe('reading trits', () => {
  test('of a tensor that is not there says so', async () => {
    const container = await openBytes(file)
    const notFound = { code: 'TENSOR_NOT_FOUND', detail: { tensor: 'nope' } }
    await expect(container.readTrits('nope')).rejects.toMatchObject(notFound)
    await expect(container.readTrits('noise')).rejects.toMatchObject({ code: 'TENSOR_NOT_FOUND' })
    await expect(container.readLossless('w')).rejects.toMatchObject({ code: 'TENSOR_NOT_FOUND' })
    expect(() => container.needsReference('nope')).toThrow('no lossless tensor nope')
  })

  test('from a damaged frame names the frame and its tensors', async () => {
    const { payload } = await takeApart(file)
    const container = await openBytes(damaged(payload.length))
    await expect(container.readTrits('w')).rejects.toMatchObject({ code: 'CHECKSUM_MISMATCH', detail: { frame: 0 } })
    await expect(container.readTrits('v')).rejects.toThrow('trit frame 0 (w to v) does not match its checksum')
  })

  test.each([
    ['half a number', Uint8Array.of(0x80), 'is cut off'],
    ['a position past the end', encodeRiceFrame([part([64 + 3]), part([1])]), 'a position past its 64 entries'],
    ['bytes after its end', Uint8Array.from([...encodeRiceFrame([part([1]), part([1])]), 0]), '1 bytes after'],
  ])('from a frame that holds %s is refused', async (_, stored, message) => {
    const container = await openBytes(await withStored(file, 0, stored))
    await expect(container.readTrits('w')).rejects.toMatchObject({ code: 'CONTAINER_INVALID' })
    await expect(container.readTrits('w')).rejects.toThrow(message)
    await expect(container.verify()).rejects.toThrow('trit frame 0 (w to v)')
  })

  test('leaves the caller memory of its own', async () => {
    const container = await openBytes(file)
    const first = await container.readTrits('w')
    first.positions.fill(0)
    expect((await container.readTrits('w')).positions).toEqual(Uint32Array.of(3, 4, 5, 6, 7, 8).map((p) => p + 2 ** 31))
  })

  test('stops when it is told to', async () => {
    const container = await openBytes(file)
    await expect(container.verify(AbortSignal.abort())).rejects.toThrow('aborted')
  })
})

describe('reading lossless tensors', () => {
  test('gives back the bytes that went in', async () => {
    const container = await openBytes(file)
    expect(await container.readLossless('noise')).toEqual(noise)
    expect(await container.readLossless('smooth')).toEqual(smooth)
    expect(await container.readLossless('frozen', smooth)).toEqual(smooth)
  })

  test('says which tensors need the base', async () => {
    const container = await openBytes(file)
    const need = ['w', 'noise', 'smooth', 'frozen'].filter((name) => container.needsReference(name))
    expect(need).toEqual(['frozen'])
  })

  test('asks for the base where there is none', async () => {
    const container = await openBytes(file)
    await expect(container.readLossless('frozen')).rejects.toMatchObject({
      code: 'BASE_REQUIRED',
      detail: { tensor: 'frozen' },
    })
  })

  test('refuses another base, whatever its length', async () => {
    const container = await openBytes(file)
    const mismatch = { code: 'BASE_MISMATCH', detail: { tensor: 'frozen' } }
    await expect(
      container.readLossless(
        'frozen',
        smooth.map((b) => b ^ 1),
      ),
    ).rejects.toMatchObject(mismatch)
    await expect(container.readLossless('frozen', smooth.subarray(4))).rejects.toMatchObject(mismatch)
  })

  test('from a damaged chunk names the tensor and the chunk', async () => {
    const container = await openBytes(damaged(1))
    await expect(container.readLossless('frozen', smooth)).rejects.toMatchObject({
      code: 'CHECKSUM_MISMATCH',
      detail: { tensor: 'frozen', chunk: 0 },
    })
    await expect(container.verify()).rejects.toThrow('chunk 0 of tensor frozen does not match its checksum')
  })

  test('refuses a chunk that is neither raw nor zstd', async () => {
    const short = await openBytes(await withStored(file, NOISE, noise.slice(1)))
    await expect(short.readLossless('noise')).rejects.toThrow('chunk 0 of tensor noise: no zstd frame')
    const cut = await openBytes(await withStored(file, SMOOTH, new Uint8Array(700)))
    await expect(cut.readLossless('smooth')).rejects.toMatchObject({ code: 'CONTAINER_INVALID' })
  })
})

describe('the scales block', () => {
  test.each([
    ['negative', [0, 0, 0x80, 0xbf], 'a scale of -1'],
    ['infinite', [0, 0, 0x80, 0x7f], 'a scale of Infinity'],
    ['not a number', [0, 0, 0xc0, 0x7f], 'a scale of NaN'],
    ['minus zero', [0, 0, 0, 0x80], 'a scale of -0'],
  ])('with a scale that is %s is refused', async (_, [a, b, c, d], message) => {
    const parts = await takeApart(file)
    const scales = Uint8Array.of(a!, parts.scales[1]!, b!, parts.scales[3]!, c!, parts.scales[5]!, d!, parts.scales[7]!)
    await expect(openBytes(await putTogether({ ...parts, scales }))).rejects.toThrow(message)
  })

  test('of another length than the tensors take is refused', async () => {
    const parts = await takeApart(file)
    await expect(openBytes(await putTogether({ ...parts, scales: parts.scales.subarray(4) }))).rejects.toThrow(
      'the tensors take 8 bytes of scales, the block has 4',
    )
  })
})

function part(positions: number[]) {
  return { rows: 8, cols: 8, start: 0, cells: 64, side: new Uint8Array(0), positions: Uint32Array.from(positions) }
}
