import { describe, expect, it } from 'vitest'
import { type ByteSource, memorySource } from '../../../tensors/byte-source.ts'
import { serialiseHeader } from '../../../tensors/safetensors-header.ts'
import { openSafetensors, openSharded } from '../../../tensors/safetensors-reader.ts'
import type { TensorInfo } from '../../../tensors/tensor.ts'

/** A file of F32 tensors, each filled with its own values. */
function file(values: Record<string, number[]>, metadata: Record<string, string> = {}): Uint8Array {
  const tensors = Object.entries(values).map(
    ([name, list]): TensorInfo => ({ name, dtype: 'F32', shape: [list.length] }),
  )
  const data = Float32Array.from(Object.values(values).flat())
  return Buffer.concat([serialiseHeader(tensors, metadata), new Uint8Array(data.buffer)])
}

/** A source that remembers the ranges read and whether it was closed. */
function watched(bytes: Uint8Array): ByteSource & { reads: [number, number][]; closed: boolean } {
  const inner = memorySource(bytes)
  return {
    size: inner.size,
    reads: [],
    closed: false,
    read(start, end) {
      this.reads.push([start, end])
      return inner.read(start, end)
    },
    async close() {
      this.closed = true
    },
  }
}

describe('a safetensors file', () => {
  it('is opened by reading its header and nothing else', async () => {
    const bytes = file({ a: [1, 2], b: [3] }, { format: 'pt' })
    const source = watched(bytes)
    const opened = await openSafetensors(source)
    expect(source.reads).toEqual([
      [0, 8],
      [8, bytes.byteLength - 12],
    ])
    expect(opened.metadata).toEqual({ format: 'pt' })
    expect(opened.tensors).toMatchObject([
      { name: 'a', dtype: 'F32', shape: [2] },
      { name: 'b', dtype: 'F32', shape: [1] },
    ])
  })

  it('reads one tensor with one range', async () => {
    const source = watched(file({ a: [1, 2], b: [3] }))
    const opened = await openSafetensors(source)
    source.reads.length = 0
    expect([...(await opened.read('b'))]).toEqual([3])
    expect(source.reads).toEqual([[opened.span('b').start, opened.span('b').end]])
    expect([...(await opened.readBytes('b'))]).toEqual([0, 0, 0x40, 0x40])
  })

  it('gives values that can be written to without harm to the source', async () => {
    const opened = await openSafetensors(memorySource(file({ a: [1, 2] })))
    const first = await opened.read('a')
    first.fill(9)
    expect([...(await opened.read('a'))]).toEqual([1, 2])
  })

  it('is read at any place within a larger buffer', async () => {
    for (let offset = 0; offset < 4; offset++) {
      const bytes = Buffer.concat([new Uint8Array(offset), file({ a: [1, 2] })]).subarray(offset)
      const opened = await openSafetensors(memorySource(bytes))
      expect([...(await opened.read('a'))]).toEqual([1, 2])
    }
  })

  it('names a tensor it does not have', async () => {
    const opened = await openSafetensors(memorySource(file({ a: [1] })))
    const missing = expect.objectContaining({ code: 'TENSOR_NOT_FOUND', detail: { tensor: 'toString' } })
    expect(() => opened.span('toString')).toThrow(missing)
    await expect(opened.read('toString')).rejects.toEqual(missing)
    await expect(opened.readBytes('toString')).rejects.toEqual(missing)
  })

  it.each([0, 3, 7, 8, 9, 40])('is refused when only its first %i bytes are there', async (length) => {
    await expect(openSafetensors(memorySource(file({ a: [1, 2] }).subarray(0, length)))).rejects.toMatchObject({
      code: 'SAFETENSORS_INVALID',
    })
  })

  it('is refused when its last byte is missing or one follows', async () => {
    const bytes = file({ a: [1, 2] })
    for (const wrong of [bytes.subarray(0, -1), Buffer.concat([bytes, Buffer.of(0)])]) {
      await expect(openSafetensors(memorySource(wrong))).rejects.toMatchObject({ code: 'SAFETENSORS_INVALID' })
    }
  })

  it('closes its source', async () => {
    const source = watched(file({ a: [1] }))
    const opened = await openSafetensors(source)
    await opened.close()
    expect(source.closed).toBe(true)
  })
})

describe('shards', () => {
  const index = (weightMap: unknown, more: object = {}) => JSON.stringify({ ...more, weight_map: weightMap })

  /** Opens an index over files in memory, watching them. */
  function shards(files: Record<string, Uint8Array>) {
    const sources = new Map<string, ReturnType<typeof watched>>()
    const open = async (name: string) => {
      const bytes = files[name]
      if (!bytes) throw new Error(`asked for ${name}`)
      const source = watched(bytes)
      sources.set(name, source)
      return source
    }
    return { sources, open }
  }

  const ONE = 'model-00001-of-00002.safetensors'
  const TWO = 'model-00002-of-00002.safetensors'

  it('read as one model, file by file', async () => {
    const { open, sources } = shards({ [ONE]: file({ z: [1], y: [2, 3] }), [TWO]: file({ a: [4] }, { format: 'pt' }) })
    const text = index({ a: TWO, y: ONE, z: ONE }, { metadata: { total_size: 1 } })
    const model = await openSharded(text, open)
    expect(model.tensors.map(({ name }) => name)).toEqual(['z', 'y', 'a'])
    expect(model.metadata).toEqual({ format: 'pt' })
    expect([...(await model.read('a'))]).toEqual([4])
    expect([...(await model.readBytes('z'))]).toEqual([0, 0, 0x80, 0x3f])
    expect(() => model.shard('b')).toThrow(expect.objectContaining({ code: 'TENSOR_NOT_FOUND' }))
    await model.close()
    expect([...sources.values()].map(({ closed }) => closed)).toEqual([true, true])
  })

  it('of which the first speaks where metadata disagree', async () => {
    const { open } = shards({ [ONE]: file({ a: [1] }, { k: 'one' }), [TWO]: file({ b: [1] }, { k: 'two', l: 'x' }) })
    expect((await openSharded(index({ a: ONE, b: TWO }), open)).metadata).toEqual({ k: 'one', l: 'x' })
  })

  it.each([
    ['a shard lacks a tensor', { a: [1] }, { a: ONE, b: TWO, c: TWO }, /tensor "c" is in .*00002.*but it is not there/],
    [
      'a shard has a tensor more',
      { a: [1], x: [0] },
      { a: ONE },
      /tensor "x" is in .*00001.*weight_map does not name it/,
    ],
    [
      'a tensor is in another shard',
      { a: [1], x: [0] },
      { a: TWO, x: ONE, b: TWO },
      /tensor "a" is in .*00001.*weight_map says .*00002/,
    ],
  ])('are refused, and closed, where %s', async (_, first, weightMap, message) => {
    const { open, sources } = shards({ [ONE]: file(first), [TWO]: file({ b: [2] }) })
    const error = await openSharded(index(weightMap), open).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'SAFETENSORS_INVALID', message: expect.stringMatching(message) })
    expect(sources.size).toBeGreaterThan(0)
    expect([...sources.values()].every(({ closed }) => closed)).toBe(true)
  })

  it('are refused where two hold the same tensor', async () => {
    const { open } = shards({ [ONE]: file({ a: [1], b: [1] }), [TWO]: file({ b: [2] }) })
    await expect(openSharded(index({ a: ONE, b: TWO }), open)).rejects.toMatchObject({ code: 'SAFETENSORS_INVALID' })
  })

  it('are refused with the name of the file that is broken', async () => {
    const { open, sources } = shards({ [ONE]: file({ a: [1] }), [TWO]: file({ b: [2] }).subarray(0, -1) })
    await expect(openSharded(index({ a: ONE, b: TWO }), open)).rejects.toMatchObject({
      code: 'SAFETENSORS_INVALID',
      message: expect.stringContaining(TWO),
      detail: { file: TWO },
    })
    expect([...sources.values()].every(({ closed }) => closed)).toBe(true)
  })

  it.each([
    ['no JSON', '{"weight_map":'],
    ['an array', '[]'],
    ['no weight_map', '{"metadata":{}}'],
    ['a weight_map that is no object', index([])],
    ['an empty weight_map', index({})],
    ['a file that is no string', index({ a: 1 })],
    ['a tensor twice', `{"weight_map":{"a":"${ONE}","a":"${TWO}"}}`],
    ['a parent folder', index({ a: '../x.safetensors' })],
    ['a sub-folder', index({ a: 'x/y.safetensors' })],
    ['an absolute path', index({ a: '/x.safetensors' })],
    ['a Windows path', index({ a: 'c:\\x.safetensors' })],
    ['a hidden file', index({ a: '.x.safetensors' })],
    ['a name with NUL', index({ a: 'x\0.safetensors' })],
    ['another kind of file', index({ a: 'pytorch_model.bin' })],
    ['an endless name', index({ a: `${'x'.repeat(255)}.safetensors` })],
    [
      'more files than any model has',
      index(Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [i, `${i}.safetensors`]))),
    ],
  ])('are refused before a file is opened, for an index with %s', async (_, text) => {
    const opened: string[] = []
    const result = openSharded(text, async (name) => {
      opened.push(name)
      return memorySource(new Uint8Array())
    })
    await expect(result).rejects.toMatchObject({ code: 'SAFETENSORS_INVALID' })
    expect(opened).toEqual([])
  })
})
