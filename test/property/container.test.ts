import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Container } from '../../compress/container-reader.ts'
import type { Scales } from '../../compress/quantized-tensor.ts'
import { CodedError } from '../../errors.ts'
import { type Dtype, dtypeBytes } from '../../tensors/dtype.ts'
import {
  buildContainer,
  type ContainerSpec,
  openBytes,
  putTogether,
  quantized,
  type TensorSpec,
  takeApart,
  withStored,
} from '../unit/compress/container-builder.ts'

const FLOATING: Dtype[] = ['F64', 'F32', 'F16', 'BF16']
const ANY: Dtype[] = [
  ...FLOATING,
  'F8_E4M3',
  'F8_E5M2',
  'I64',
  'I32',
  'I16',
  'I8',
  'U64',
  'U32',
  'U16',
  'U8',
  'BOOL',
  'C64',
]

const shapes = fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 4 })
const bf16 = fc.integer({ min: 0, max: 0x7f7f }).map((bits) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!)

function count(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1)
}

function scalesFor(shape: readonly number[]): fc.Arbitrary<Scales> {
  const cols = shape.at(-1) ?? 1
  const rows = count(shape.slice(0, -1))
  const axis = (name: Scales['axis'], length: number) =>
    fc
      .array(bf16, { minLength: length, maxLength: length })
      .map((values) => ({ axis: name, values: Float32Array.from(values) }))
  return fc.oneof(axis('tensor', 1), axis('row', rows), axis('column', cols))
}

const trits: fc.Arbitrary<TensorSpec> = fc
  .record({ name: fc.string(), dtype: fc.constantFrom(...FLOATING), shape: shapes })
  .chain((info) => {
    const length = count(info.shape)
    const entry = fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.constantFrom(-1, 1))
    const values = fc.array(entry, { minLength: length, maxLength: length })
    return fc.record({ trits: values, scales: scalesFor(info.shape) }).map((more) => ({ ...info, ...more }))
  })

const lossless: fc.Arbitrary<TensorSpec> = fc
  .record({ name: fc.string(), dtype: fc.constantFrom(...ANY), shape: shapes, based: fc.boolean() })
  .chain(({ based, ...info }) => {
    const length = count(info.shape) * dtypeBytes(info.dtype)
    const bytes = fc.uint8Array({ minLength: length, maxLength: length })
    return bytes.map((raw) => ({ ...info, bytes: raw, ...(based ? { reference: raw.map((b) => b & 0xfe) } : {}) }))
  })

const specs: fc.Arbitrary<ContainerSpec> = fc.record({
  codec: fc.constantFrom('rice', 'bitplane', 'sgr'),
  tensors: fc.uniqueArray(fc.oneof(trits, lossless), { maxLength: 6, selector: ({ name }) => name }),
})

async function readAll(container: Container, spec: ContainerSpec): Promise<unknown[]> {
  const read: unknown[] = []
  for (const { name, storage } of container.tensors) {
    const tensor = spec.tensors.find((one) => one.name === name)
    const reference = tensor && 'bytes' in tensor ? tensor.reference : undefined
    read.push(storage === 'trits' ? await container.readTrits(name) : await container.readLossless(name, reference))
  }
  return read
}

function expected({ tensors }: ContainerSpec): unknown[] {
  return tensors.map((tensor) => ('trits' in tensor ? quantized(tensor) : tensor.bytes))
}

/** What reading gives, or the error when it is a coded one; any other error fails the test. */
async function outcome(bytes: Uint8Array, spec: ContainerSpec): Promise<unknown[] | CodedError> {
  try {
    const container = await openBytes(bytes)
    await container.verify()
    return await readAll(container, spec)
  } catch (error) {
    if (error instanceof CodedError) return error
    throw error
  }
}

/** A container with something of everything, for damage. */
const sample: ContainerSpec = {
  codec: 'sgr',
  tensors: [
    {
      name: 'a.b.lora_A.weight',
      dtype: 'F32',
      shape: [4, 50],
      trits: Array.from({ length: 200 }, (_, i) => (i % 7 === 0 ? 1 : i % 11 === 0 ? -1 : 0)),
      scales: { axis: 'row', values: Float32Array.of(1, 2, 4, 0.5) },
    },
    {
      name: 'a.b.lora_B.weight',
      dtype: 'BF16',
      shape: [30, 4],
      trits: Array.from({ length: 120 }, (_, i) => (i % 5 === 0 ? -1 : 0)),
      scales: { axis: 'column', values: Float32Array.of(1, 2, 4, 0.5) },
    },
    { name: 'c', dtype: 'F32', shape: [3], trits: [0, 1, 0], scales: { axis: 'tensor', values: Float32Array.of(0.1) } },
    { name: 'd', dtype: 'U8', shape: [90], bytes: Uint8Array.from({ length: 90 }, (_, i) => (i * i * 31) >>> 2) },
    {
      name: 'e',
      dtype: 'F32',
      shape: [40],
      bytes: new Uint8Array(160).fill(5),
      reference: Uint8Array.from({ length: 160 }, (_, i) => (i === 7 ? 0 : 5)),
    },
  ],
}

describe('any tensors', () => {
  test('come back from a container as they were', async () => {
    await fc.assert(
      fc.asyncProperty(specs, async (spec) => {
        const container = await openBytes(await buildContainer(spec))
        expect(container.tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape }))).toEqual(
          spec.tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape: [...shape] })),
        )
        expect(await readAll(container, spec)).toEqual(expected(spec))
        await container.verify()
      }),
      { numRuns: 150 },
    )
  })
})

describe('a damaged container', async () => {
  const file = await buildContainer(sample)

  test('with any byte changed gives a coded error or the same tensors', async () => {
    for (let at = 0; at < file.length; at++) {
      const bytes = file.slice()
      bytes[at]! ^= 1 << (at % 8)
      const result = await outcome(bytes, sample)
      if (!(result instanceof CodedError)) expect(result).toEqual(expected(sample))
    }
  })

  test('cut off anywhere gives a coded error', async () => {
    for (let length = 0; length < file.length; length++)
      expect(await outcome(file.subarray(0, length), sample)).toBeInstanceOf(CodedError)
  })

  test('with any value of its table replaced, behind a valid digest, gives a coded error or tensors', async () => {
    const parts = await takeApart(file)
    const paths = leaves(parts.table)
    const numbers = fc.constantFrom<unknown>(
      0,
      1,
      2,
      7,
      255,
      2 ** 18,
      2 ** 31 - 1,
      2 ** 31,
      2 ** 32,
      2 ** 40,
      2 ** 53 - 1,
    )
    const others = fc.constantFrom<unknown>(-1, 0.5, 1e300, '', 'x.y', null, true, [], {}, [[]], 'F64', 'BOOL')
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom(...paths), fc.oneof(numbers, others)), { minLength: 1, maxLength: 3 }),
        async (changes) => {
          const table = structuredClone(parts.table)
          for (const [path, value] of changes) replaceAt(table, path, value)
          await outcome(await putTogether({ ...parts, table }), sample)
        },
      ),
      { numRuns: 1000 },
    )
  })

  test('with any frame or chunk replaced, behind a valid checksum, gives a coded error or tensors', async () => {
    const { table, payload } = await takeApart(file)
    const lengths = [...(table.frames as number[]), ...(table.chunks as number[])]
    const stored = lengths.map((length, i) => {
      const start = lengths.slice(0, i).reduce((sum, one) => sum + one, 0)
      return payload.subarray(start, start + length)
    })
    const change = fc.tuple(fc.nat({ max: 400 }), fc.integer({ min: 1, max: 255 }))
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: lengths.length - 1 }),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        async (i, changes) => {
          const bytes = stored[i]!.slice()
          for (const [at, mask] of changes) bytes[at % bytes.length]! ^= mask
          await outcome(await withStored(file, i, bytes), sample)
        },
      ),
      { numRuns: 700 },
    )
  })

  test('with its scales replaced, behind a valid digest, gives a coded error or tensors', async () => {
    const parts = await takeApart(file)
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 10, maxLength: 14 }), async (scales) => {
        await outcome(await putTogether({ ...parts, scales }), sample)
      }),
      { numRuns: 200 },
    )
  })
})

/** Paths to every value inside a JSON value, containers included. */
function leaves(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return [path]
  const inner = Object.entries(value).flatMap(([key, member]) => leaves(member, [...path, key]))
  return path.length === 0 ? inner : [path, ...inner]
}

function replaceAt(root: unknown, path: readonly (string | number)[], value: unknown): void {
  let at = root as Record<string | number, unknown>
  for (const key of path.slice(0, -1)) {
    if (typeof at[key] !== 'object' || at[key] === null) return
    at = at[key] as Record<string | number, unknown>
  }
  at[path.at(-1)!] = structuredClone(value)
}
