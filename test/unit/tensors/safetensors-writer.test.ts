import { describe, expect, it } from 'vitest'
import { memorySource } from '../../../tensors/byte-source.ts'
import { openSafetensors } from '../../../tensors/safetensors-reader.ts'
import { type ByteSink, SafetensorsWriter } from '../../../tensors/safetensors-writer.ts'
import type { TensorInfo } from '../../../tensors/tensor.ts'

function memorySink(): ByteSink & { parts: Uint8Array[]; ended: boolean } {
  return {
    parts: [],
    ended: false,
    async write(bytes) {
      this.parts.push(bytes.slice())
    },
    async end() {
      this.ended = true
    },
  }
}

const TENSORS: TensorInfo[] = [
  { name: 'b', dtype: 'U8', shape: [3] },
  { name: 'none', dtype: 'F32', shape: [0] },
  { name: 'a', dtype: 'BF16', shape: [] },
]

describe('a file that is written', () => {
  it('is there tensor by tensor, and reads back', async () => {
    const sink = memorySink()
    const writer = new SafetensorsWriter(sink)
    await writer.begin(TENSORS, { format: 'pt' })
    expect(sink.parts).toHaveLength(1)
    await writer.write('b', Uint8Array.of(1, 2, 3))
    expect(sink.parts).toHaveLength(2)
    await writer.write('none', new Uint8Array())
    await writer.write('a', Uint8Array.of(0x80, 0x3f))
    expect(sink.ended).toBe(false)
    await writer.end()
    expect(sink.ended).toBe(true)
    const file = await openSafetensors(memorySource(Buffer.concat(sink.parts)))
    expect(file.metadata).toEqual({ format: 'pt' })
    expect(file.tensors).toMatchObject(TENSORS)
    expect([...(await file.readBytes('b')), ...(await file.read('a'))]).toEqual([1, 2, 3, 1])
  })

  it('is refused with a code when a name has no place in the format', async () => {
    const writer = new SafetensorsWriter(memorySink())
    await expect(writer.begin([{ name: '__metadata__', dtype: 'U8', shape: [] }], {})).rejects.toMatchObject({
      code: 'SAFETENSORS_INVALID',
    })
  })

  it('never gets a tensor out of order, of another length, or one too many', async () => {
    const writer = new SafetensorsWriter(memorySink())
    await expect(writer.write('b', new Uint8Array(3))).rejects.toThrow(/nothing was due/)
    await writer.begin(TENSORS, {})
    await expect(writer.begin(TENSORS, {})).rejects.toThrow(/twice/)
    await expect(writer.write('a', new Uint8Array(2))).rejects.toThrow(/a written where b was due/)
    await expect(writer.write('b', new Uint8Array(2))).rejects.toThrow(/2 bytes, its header says 3/)
    await writer.write('b', new Uint8Array(3))
    await writer.write('none', new Uint8Array())
    await expect(writer.end()).rejects.toThrow(/2 of 3/)
    await writer.write('a', new Uint8Array(2))
    await expect(writer.write('a', new Uint8Array(2))).rejects.toThrow(/nothing was due/)
  })
})
