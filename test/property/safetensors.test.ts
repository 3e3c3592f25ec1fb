import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { memorySource } from '../../tensors/byte-source.ts'
import type { Dtype } from '../../tensors/dtype.ts'
import { TensorError } from '../../tensors/errors.ts'
import { serialiseHeader, tensorBytes } from '../../tensors/safetensors-header.ts'
import { openSafetensors } from '../../tensors/safetensors-reader.ts'
import { safetensorsView } from '../../tensors/safetensors-view.ts'
import { type ByteSink, SafetensorsWriter } from '../../tensors/safetensors-writer.ts'
import type { TensorInfo } from '../../tensors/tensor.ts'

const DTYPES: Dtype[] = [
  'F64',
  'F32',
  'F16',
  'BF16',
  'F8_E4M3',
  'F8_E5M2',
  'F8_E8M0',
  'F8_E4M3FNUZ',
  'F8_E5M2FNUZ',
  'C64',
  'I64',
  'I32',
  'I16',
  'I8',
  'U64',
  'U32',
  'U16',
  'U8',
  'BOOL',
]

interface Content {
  readonly tensors: TensorInfo[]
  readonly metadata: Record<string, string>
  readonly data: Map<string, Uint8Array>
}

const name = fc
  .oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('a', 'a.b', '__proto__', 'constructor', '0', ''))
  .filter((text) => text !== '__metadata__' && !text.includes('\0'))

const tensorInfo: fc.Arbitrary<TensorInfo> = fc.record({
  name,
  dtype: fc.constantFrom(...DTYPES),
  shape: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }),
})

const content: fc.Arbitrary<Content> = fc
  .record({
    tensors: fc.uniqueArray(tensorInfo, { selector: (tensor) => tensor.name, maxLength: 8 }),
    metadata: fc.dictionary(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), { maxKeys: 4 }),
    seed: fc.integer({ min: 0, max: 255 }),
  })
  .map(({ tensors, metadata, seed }) => {
    const bytes = (tensor: TensorInfo) => Uint8Array.from({ length: tensorBytes(tensor) }, (_, i) => seed + 37 * i)
    return { tensors, metadata, data: new Map(tensors.map((tensor) => [tensor.name, bytes(tensor)])) }
  })

async function write({ tensors, metadata, data }: Content): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  const sink: ByteSink = {
    write: async (bytes) => void parts.push(bytes),
    end: async () => {},
  }
  const writer = new SafetensorsWriter(sink)
  await writer.begin(tensors, metadata)
  for (const tensor of tensors) await writer.write(tensor.name, data.get(tensor.name)!)
  await writer.end()
  return Buffer.concat(parts)
}

/** Opens bytes as a file and reads all of it; a coded refusal is an answer too, anything else thrown is a defect. */
async function readAll(bytes: Uint8Array): Promise<'read' | 'refused'> {
  try {
    const file = await openSafetensors(memorySource(bytes))
    for (const tensor of file.tensors) {
      const read = await file.readBytes(tensor.name)
      if (read.byteLength !== tensorBytes(tensor)) throw new Error(`${tensor.name} has ${read.byteLength} bytes`)
    }
    return 'read'
  } catch (error) {
    if (error instanceof TensorError) return 'refused'
    throw error
  }
}

describe('any set of tensors', () => {
  it('is the same after being written and read', async () => {
    await fc.assert(
      fc.asyncProperty(content, async (original) => {
        const file = await openSafetensors(memorySource(await write(original)))
        expect(file.tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape }))).toEqual(original.tensors)
        expect(Object.entries(file.metadata)).toEqual(Object.entries(original.metadata))
        for (const { name } of original.tensors) {
          expect(Buffer.from(await file.readBytes(name)).equals(original.data.get(name)!)).toBe(true)
        }
      }),
      { numRuns: 200 },
    )
  })

  it('gives through a view, at any range, the bytes of the file', async () => {
    await fc.assert(
      fc.asyncProperty(content, fc.nat(), fc.nat(), async (original, first, second) => {
        const bytes = await write(original)
        const view = safetensorsView(await openSafetensors(memorySource(bytes)))
        expect(view.size).toBe(bytes.byteLength)
        const [start, end] = [first % (view.size + 1), second % (view.size + 1)].toSorted((a, b) => a - b)
        expect(Buffer.from(await view.read(start!, end!)).equals(bytes.subarray(start, end))).toBe(true)
      }),
      { numRuns: 200 },
    )
  })
})

const edit = fc.record({
  kind: fc.constantFrom('replace', 'insert', 'delete', 'cut', 'flip', 'swap'),
  at: fc.nat(),
  with: fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 4 }),
    fc
      .constantFrom(
        '"',
        '{',
        '}',
        '[',
        ']',
        ',',
        ':',
        '0',
        '-',
        '1e9',
        '.5',
        '9007199254740993',
        'null',
        '\\u0000',
        '\\ud800',
      )
      .map((text) => new TextEncoder().encode(text)),
  ),
})

type Edit = typeof edit extends fc.Arbitrary<infer T> ? T : never

/** Bytes with one edit within the first `limit`. */
function apply(bytes: Uint8Array, change: Edit, limit: number): Uint8Array {
  const at = change.at % limit
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)]
  switch (change.kind) {
    case 'replace':
      return Buffer.concat([before, change.with, after.subarray(change.with.byteLength)])
    case 'insert':
      return Buffer.concat([before, change.with, after])
    case 'delete':
      return Buffer.concat([before, after.subarray(change.with.byteLength)])
    case 'cut':
      return before
    case 'flip':
      return Buffer.concat([before, Buffer.of((after[0] ?? 0) ^ (1 << (change.with[0]! & 7))), after.subarray(1)])
    default:
      return Buffer.concat([before, after.subarray(0, 8).toReversed(), after.subarray(8)])
  }
}

describe('any damage to a header', () => {
  it('is either harmless or refused with a code', async () => {
    const seen = { read: 0, refused: 0 }
    await fc.assert(
      fc.asyncProperty(content, fc.array(edit, { minLength: 1, maxLength: 3 }), async (original, edits) => {
        let bytes = await write(original)
        const headerEnd = serialiseHeader(original.tensors, original.metadata).byteLength
        for (const change of edits) bytes = apply(bytes, change, headerEnd)
        seen[await readAll(bytes)]++
      }),
      { numRuns: 1500 },
    )
    expect(seen.refused).toBeGreaterThan(500)
  })

  it('is either harmless or refused with a code where the length field still fits', async () => {
    const seen = { read: 0, refused: 0 }
    await fc.assert(
      fc.asyncProperty(content, fc.array(edit, { minLength: 1, maxLength: 3 }), async (original, edits) => {
        const headerEnd = serialiseHeader(original.tensors, original.metadata).byteLength
        const whole = await write(original)
        let text: Uint8Array = whole.subarray(8, headerEnd)
        for (const change of edits) text = apply(text, change, Math.max(text.byteLength, 1))
        const length = Buffer.alloc(8)
        length.writeBigUInt64LE(BigInt(text.byteLength))
        seen[await readAll(Buffer.concat([length, text, whole.subarray(headerEnd)]))]++
      }),
      { numRuns: 1500 },
    )
    expect(seen.refused).toBeGreaterThan(500)
    expect(seen.read).toBeGreaterThan(0)
  })

  it('is refused with a code where fields hold values of any kind', async () => {
    const field = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.array(fc.maxSafeInteger(), { maxLength: 3 }),
      fc.bigInt().map(String),
    )
    const entry = fc.oneof(
      fc.record(
        { dtype: fc.oneof(fc.constantFrom<string>(...DTYPES, 'F4'), field), shape: field, data_offsets: field },
        { requiredKeys: [] },
      ),
      field,
    )
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.oneof(name, fc.constant('__metadata__')), entry, { maxKeys: 4 }),
        async (header) => {
          const text = Buffer.from(JSON.stringify(header))
          const length = Buffer.alloc(8)
          length.writeBigUInt64LE(BigInt(text.byteLength))
          await readAll(Buffer.concat([length, text, Buffer.alloc(16)]))
        },
      ),
      { numRuns: 1500 },
    )
  })

  it('of which nothing is left but noise is refused with a code', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), fc.nat(80), async (noise, length) => {
        const field = Buffer.alloc(8)
        field.writeBigUInt64LE(BigInt(length))
        expect(await readAll(Buffer.concat([field, noise]))).toBe('refused')
        await readAll(noise)
      }),
      { numRuns: 500, examples: [[new Uint8Array(), 0]] },
    )
  })
})
