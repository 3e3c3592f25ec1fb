import { describe, expect, it } from 'vitest'
import { serialiseHeader, tensorBytes } from '../../../tensors/safetensors-header.ts'
import { openSafetensors } from '../../../tensors/safetensors-reader.ts'
import { safetensorsView } from '../../../tensors/safetensors-view.ts'
import type { TensorInfo, TensorSource } from '../../../tensors/tensor.ts'

const TENSORS: TensorInfo[] = [
  { name: 'a', dtype: 'U8', shape: [5] },
  { name: 'empty', dtype: 'F32', shape: [0] },
  { name: 'b', dtype: 'BF16', shape: [2, 2] },
  { name: 'c', dtype: 'F32', shape: [] },
]

/** Tensors whose bytes count up from one to the next; `asked` records the names read. */
function counting(tensors: readonly TensorInfo[]): { source: TensorSource; asked: string[]; whole: Uint8Array } {
  const asked: string[] = []
  const data = new Map<string, Uint8Array>()
  let next = 1
  for (const tensor of tensors)
    data.set(
      tensor.name,
      Uint8Array.from({ length: tensorBytes(tensor) }, () => next++),
    )
  const metadata = { format: 'pt' }
  const source: TensorSource = {
    tensors,
    metadata,
    async readBytes(name) {
      asked.push(name)
      return data.get(name) ?? new Uint8Array()
    },
    read: () => Promise.reject(new Error('values are not needed')),
  }
  return { source, asked, whole: Buffer.concat([serialiseHeader(tensors, metadata), ...data.values()]) }
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = []
  for await (const part of stream) parts.push(part)
  return parts
}

describe('a file that exists only as it is read', () => {
  it('takes a tensor in pieces where the source streams, from any point of the file to any other', async () => {
    const { source, whole } = counting(TENSORS)
    const streaming: TensorSource = {
      ...source,
      async *streamBytes(name) {
        for (const byte of await source.readBytes(name)) yield Uint8Array.of(byte)
      },
    }
    const view = safetensorsView(streaming)
    for (let start = whole.length - 20; start <= whole.length; start++)
      for (let end = start; end <= whole.length; end++)
        expect(Buffer.concat(await collect(view.stream(start, end)))).toEqual(Buffer.from(whole.subarray(start, end)))
  })

  it('fails when a source streams fewer bytes than the header says', async () => {
    const { source } = counting(TENSORS)
    async function* short() {
      yield new Uint8Array(1)
    }
    await expect(collect(safetensorsView({ ...source, streamBytes: short }).stream())).rejects.toThrow('gave 1 bytes')
  })

  it('knows its size without reading a tensor', () => {
    const { source, asked, whole } = counting(TENSORS)
    expect(safetensorsView(source).size).toBe(whole.byteLength)
    expect(asked).toEqual([])
  })

  it('streams the bytes of an ordinary file', async () => {
    const { source, whole } = counting(TENSORS)
    expect(Buffer.concat(await collect(safetensorsView(source).stream())).equals(whole)).toBe(true)
  })

  it('gives every range the bytes of the whole file', async () => {
    const { source, whole } = counting(TENSORS)
    const view = safetensorsView(source)
    const wrong: string[] = []
    for (let start = 0; start <= view.size; start++) {
      for (let end = start; end <= view.size; end++) {
        const bytes = await view.read(start, end)
        if (!Buffer.from(bytes).equals(whole.subarray(start, end))) wrong.push(`${start}..${end}`)
      }
    }
    expect(wrong).toEqual([])
  })

  it('reads only the tensors that a range touches, each once', async () => {
    const { source, asked, whole } = counting(TENSORS)
    const view = safetensorsView(source)
    const data = whole.byteLength - 17
    await view.read(0, data)
    expect(asked).toEqual([])
    await view.read(data + 5, data + 6)
    expect(asked).toEqual(['b'])
    await view.read(data + 4, data + 14)
    expect(asked).toEqual(['b', 'a', 'b', 'c'])
  })

  it('reads the next tensor only after the consumer took what there is', async () => {
    const { source, asked } = counting(TENSORS)
    const stream = safetensorsView(source).stream()[Symbol.asyncIterator]()
    await stream.next()
    expect(asked).toEqual([])
    await stream.next()
    expect(asked).toEqual(['a'])
    await stream.next()
    expect(asked).toEqual(['a', 'b'])
  })

  it('hands large tensors out in chunks of at most a mebibyte', async () => {
    const { source, whole } = counting([{ name: 'big', dtype: 'U8', shape: [2_500_000] }])
    const parts = await collect(safetensorsView(source).stream(1))
    expect(Math.max(...parts.map(({ byteLength }) => byteLength))).toBe(2 ** 20)
    expect(Buffer.concat(parts).equals(whole.subarray(1))).toBe(true)
  })

  it('can be opened as a file like any other', async () => {
    const { source } = counting(TENSORS)
    const file = await openSafetensors(safetensorsView(source))
    expect(file.tensors).toMatchObject(TENSORS)
    expect([...(await file.readBytes('b'))]).toEqual([6, 7, 8, 9, 10, 11, 12, 13])
  })

  it.each([
    [-1, 3],
    [4, 3],
    [0, 10_000],
  ])('refuses the range %i to %i', async (start, end) => {
    const view = safetensorsView(counting(TENSORS).source)
    await expect(view.read(start, end)).rejects.toMatchObject({ code: 'SOURCE_TRUNCATED' })
    await expect(collect(view.stream(start, end))).rejects.toMatchObject({ code: 'SOURCE_TRUNCATED' })
  })

  it('stops between chunks when it is aborted', async () => {
    const { source, asked } = counting(TENSORS)
    const abort = new AbortController()
    const stream = safetensorsView(source).stream(0, undefined, abort.signal)[Symbol.asyncIterator]()
    await stream.next()
    await stream.next()
    abort.abort()
    await expect(stream.next()).rejects.toThrow(/abort/i)
    expect(asked).toEqual(['a'])
  })

  it('never streams a tensor of another length than its header says', async () => {
    const { source } = counting(TENSORS)
    const wrong: TensorSource = { ...source, readBytes: async () => new Uint8Array(3) }
    await expect(collect(safetensorsView(wrong).stream())).rejects.toThrow(/tensor a gave 3 bytes for 5/)
  })
})
