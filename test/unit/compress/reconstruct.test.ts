import { describe, expect, test } from 'vitest'
import type { ContainerHeader } from '../../../compress/container-table.ts'
import { reconstructedSource, taskVectorSource } from '../../../compress/reconstruct.ts'
import { type Dtype, fromF32, toF32 } from '../../../tensors/dtype.ts'
import type { TensorSource } from '../../../tensors/tensor.ts'
import { buildContainer, openBytes, type TensorSpec } from './container-builder.ts'

/** A source over plain values: what a base model is to the code under test. */
function valuesSource(
  tensors: readonly { name: string; dtype: Dtype; shape: number[]; values: number[] }[],
): TensorSource {
  const bytesOf = (name: string) => {
    const { values, dtype } = tensors.find((tensor) => tensor.name === name)!
    return fromF32(Float32Array.from(values), dtype)
  }
  return {
    tensors,
    metadata: {},
    read: async (name) => toF32(bytesOf(name), tensors.find((tensor) => tensor.name === name)!.dtype),
    readBytes: async (name) => bytesOf(name),
  }
}

async function open(tensors: readonly TensorSpec[], header: Partial<ContainerHeader> = {}) {
  return openBytes(await buildContainer({ header, tensors }))
}

const f32 = (values: number[]) => fromF32(Float32Array.from(values), 'F32')
const trits = {
  name: 'm.w',
  dtype: 'BF16',
  shape: [2, 3],
  trits: [1, 0, -1, 0, 0, 1],
  scales: { axis: 'row', values: Float32Array.of(0.5, 2) },
} as const
const head = { name: 'm.head', dtype: 'F32', shape: [2], bytes: f32([1.5, -3]) } as const
const ids = { name: 'm.ids', dtype: 'I64', shape: [1], bytes: Uint8Array.of(7, 0, 0, 0, 0, 0, 0, 0) } as const

describe('reconstructed weights', () => {
  test('of origin zero are the scaled trits, in the dtype they had', async () => {
    const source = reconstructedSource(await open([trits, head, ids]))
    expect(source.tensors).toEqual([
      { name: 'm.w', dtype: 'BF16', shape: [2, 3] },
      { name: 'm.head', dtype: 'F32', shape: [2] },
      { name: 'm.ids', dtype: 'I64', shape: [1] },
    ])
    expect(await source.read('m.w')).toEqual(Float32Array.of(0.5, 0, -0.5, 0, 0, 2))
    expect(await source.readBytes('m.w')).toEqual(fromF32(Float32Array.of(0.5, 0, -0.5, 0, 0, 2), 'BF16'))
  })

  test('of lossless tensors are the bytes they were', async () => {
    const source = reconstructedSource(await open([trits, head, ids]))
    expect(await source.readBytes('m.head')).toEqual(head.bytes)
    expect(await source.readBytes('m.ids')).toEqual(ids.bytes)
    expect(await source.read('m.ids')).toEqual(Float32Array.of(7))
  })

  test('take one scale per column where the container says so', async () => {
    const columns = { ...trits, scales: { axis: 'column', values: Float32Array.of(1, 2, 4) } } as const
    expect(await reconstructedSource(await open([columns])).read('m.w')).toEqual(Float32Array.of(1, 0, -4, 0, 0, 4))
  })

  test('of origin one lie around one', async () => {
    const source = reconstructedSource(await open([trits], { kind: 'ia3', origin: 'one' }))
    expect(await source.read('m.w')).toEqual(Float32Array.of(1.5, 1, 0.5, 1, 1, 3))
  })

  test('of origin base lie around the base, found by its own name', async () => {
    const header = { kind: 'full', origin: 'base', baseNames: { 'm.w': 'w' } } as const
    const base = valuesSource([{ name: 'w', dtype: 'F16', shape: [2, 3], values: [1, 2, 3, 4, 5, 6] }])
    const source = reconstructedSource(await open([trits], header), { base })
    expect(await source.read('m.w')).toEqual(Float32Array.of(1.5, 2, 2.5, 4, 5, 8))
  })

  test('become another floating dtype where one is asked for, and integers never', async () => {
    const source = reconstructedSource(await open([trits, head, ids]), { dtype: 'F16' })
    expect(source.tensors.map(({ dtype }) => dtype)).toEqual(['F16', 'F16', 'I64'])
    expect(await source.readBytes('m.head')).toEqual(fromF32(Float32Array.of(1.5, -3), 'F16'))
    expect(await source.readBytes('m.ids')).toEqual(ids.bytes)
  })

  test('read as numbers are those of the file, rounded to its dtype', async () => {
    const scale = { axis: 'tensor', values: Float32Array.of(0.1) } as const
    const source = reconstructedSource(await open([{ ...trits, scales: scale }]))
    expect(await source.read('m.w')).toEqual(toF32(await source.readBytes('m.w'), 'BF16'))
    expect((await source.read('m.w'))[0]).not.toBe(Math.fround(0.1))
  })

  test('stream as the bytes they are, in every dtype and around every origin', async () => {
    const rows = 700
    const shape = [rows, 500] // more than a frame
    const entries = rows * 500
    const large = {
      name: 'm.w',
      dtype: 'BF16',
      shape,
      trits: Array.from({ length: entries }, (_, i) => (i % 7 === 0 ? 1 : i % 11 === 0 ? -1 : 0)),
      scales: { axis: 'row', values: Float32Array.from({ length: rows }, (_, i) => 2 ** -(i % 9)) },
    } as const
    const values = Array.from({ length: entries }, (_, i) => Math.sin(i))
    for (const origin of ['zero', 'one', 'base'] as const) {
      const container = await open([large, head], { origin, ...(origin === 'base' ? { base: { digest: 'd' } } : {}) })
      for (const dtype of ['BF16', 'F16', 'F32', 'F64'] as const) {
        const plain = valuesSource([{ name: 'm.w', dtype, shape, values }])
        const bytes = await plain.readBytes('m.w')
        // Of its own memory, and a view of memory that must not change.
        const readers = [
          async (_: string, start: number, end: number) => bytes.slice(start, end),
          async (_: string, start: number, end: number) => bytes.subarray(start, end),
        ]
        for (const readRange of readers) {
          const source = reconstructedSource(container, { dtype, base: { ...plain, readRange } })
          const pieces: Uint8Array[] = []
          for await (const piece of source.streamBytes!('m.w')) pieces.push(piece)
          expect(pieces.length).toBe(dtype === 'F64' ? 1 : 2)
          expect(Buffer.concat(pieces).equals(await source.readBytes('m.w'))).toBe(true)
        }
      }
    }
  })

  test('follow the gain, rounded to f32 together with the scale', async () => {
    const scale = { axis: 'tensor', values: Float32Array.of(0.1) } as const
    const source = reconstructedSource(await open([{ ...trits, dtype: 'F32', scales: scale }]), { gain: 1.3 })
    const value = Math.fround(Math.fround(0.1) * 1.3)
    expect(await source.read('m.w')).toEqual(Float32Array.of(value, 0, -value, 0, 0, value))
  })

  test('leave the base as it was', async () => {
    const values = Float32Array.of(1, 2, 3, 4, 5, 6)
    const base: TensorSource = {
      tensors: [{ name: 'm.w', dtype: 'F32', shape: [2, 3] }],
      metadata: {},
      read: async () => values,
      readBytes: async () => new Uint8Array(values.buffer),
    }
    await reconstructedSource(await open([trits], { kind: 'full', origin: 'base' }), { base }).read('m.w')
    expect(values).toEqual(Float32Array.of(1, 2, 3, 4, 5, 6))
  })

  test('ask for a base that is missing, and name it', async () => {
    const base = { digest: 'sha256:00', repo: 'acme/base' }
    const source = reconstructedSource(await open([trits], { kind: 'full', origin: 'base', base }))
    await expect(source.read('m.w')).rejects.toMatchObject({ code: 'BASE_REQUIRED', detail: { tensor: 'm.w', base } })
  })

  test('refuse a base that lacks the tensor or has it in another shape', async () => {
    const container = await open([trits], { kind: 'full', origin: 'base' })
    const wrong = valuesSource([{ name: 'm.w', dtype: 'F32', shape: [3, 2], values: [1, 2, 3, 4, 5, 6] }])
    const mismatch = { code: 'BASE_MISMATCH', detail: { tensor: 'm.w' } }
    await expect(reconstructedSource(container, { base: wrong }).read('m.w')).rejects.toMatchObject(mismatch)
    await expect(reconstructedSource(container, { base: valuesSource([]) }).read('m.w')).rejects.toThrow(
      'has no tensor',
    )
  })

  test('of a lossless tensor stored as a difference need the same base again', async () => {
    const values = Array.from({ length: 300 }, (_, i) => i)
    const spec = { name: 'm.e', dtype: 'F32', shape: [300], bytes: f32(values), reference: f32(values) } as const
    const container = await open([spec], { kind: 'full', origin: 'base' })
    const base = valuesSource([{ name: 'm.e', dtype: 'F32', shape: [300], values }])
    expect(await reconstructedSource(container, { base }).readBytes('m.e')).toEqual(spec.bytes)
    const other = valuesSource([{ name: 'm.e', dtype: 'F32', shape: [300], values: values.map((x) => -x) }])
    await expect(reconstructedSource(container, { base: other }).readBytes('m.e')).rejects.toMatchObject({
      code: 'BASE_MISMATCH',
    })
    await expect(reconstructedSource(container).readBytes('m.e')).rejects.toMatchObject({ code: 'BASE_REQUIRED' })
  })

  test('know no tensor that the container does not have', async () => {
    const source = reconstructedSource(await open([trits]))
    await expect(source.read('x')).rejects.toMatchObject({ code: 'TENSOR_NOT_FOUND' })
    await expect(source.readBytes('x')).rejects.toMatchObject({ code: 'TENSOR_NOT_FOUND' })
  })

  test('are refused in a dtype that holds no weights, and with a gain that is no number', async () => {
    const container = await open([trits])
    expect(() => reconstructedSource(container, { dtype: 'I8' })).toThrow('not reconstructed as I8')
    expect(() => reconstructedSource(container, { gain: Number.NaN })).toThrow('gain NaN')
  })
})

describe('the task vector', () => {
  test('is the scaled trits, whatever the origin', async () => {
    for (const origin of ['zero', 'one', 'base'] as const) {
      const source = taskVectorSource(await open([trits], { origin }))
      expect(source.tensors).toEqual([{ name: 'm.w', dtype: 'F32', shape: [2, 3] }])
      expect(await source.read('m.w')).toEqual(Float32Array.of(0.5, 0, -0.5, 0, 0, 2))
    }
  })

  test('adds itself to an accumulator as weight times value would', async () => {
    const scales = { axis: 'tensor', values: Float32Array.of(0.1) } as const
    const source = taskVectorSource(await open([{ ...trits, scales }]), { gain: 0.7 })
    const start = Float32Array.from({ length: 6 }, (_, i) => i / 3)
    const acc = start.slice()
    await source.addTo!('m.w', acc, 0.3)
    const tau = await source.read('m.w')
    expect(acc).toEqual(start.map((x, i) => x + Math.fround(Math.fround(0.3) * tau[i]!)))
  })

  test('of a lossless tensor is its value less the base', async () => {
    const base = valuesSource([{ name: 'm.head', dtype: 'F32', shape: [2], values: [1, 1] }])
    const source = taskVectorSource(await open([head], { kind: 'full', origin: 'base' }), { base })
    expect(await source.read('m.head')).toEqual(Float32Array.of(0.5, -4))
    const acc = Float32Array.of(10, 10)
    await source.addTo!('m.head', acc, 2)
    expect(acc).toEqual(Float32Array.of(11, 2))
  })

  test('of a lossless tensor that the base does not have is its value', async () => {
    const container = await open([head], { kind: 'full', origin: 'base' })
    const source = taskVectorSource(container, { base: valuesSource([]) })
    expect(await source.read('m.head')).toEqual(Float32Array.of(1.5, -3))
    expect(await taskVectorSource(await open([head])).read('m.head')).toEqual(Float32Array.of(1.5, -3))
  })

  test('of a full fine-tune cannot do without the base for lossless tensors', async () => {
    const source = taskVectorSource(await open([head], { kind: 'full', origin: 'base' }))
    await expect(source.read('m.head')).rejects.toMatchObject({ code: 'BASE_REQUIRED' })
  })
})
