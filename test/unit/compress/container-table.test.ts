import { describe, expect, test } from 'vitest'
import type { ContainerHeader } from '../../../compress/container-table.ts'
import { buildContainer, oneScale, openBytes, sealTable, takeApart, withTable } from './container-builder.ts'

const noise = Uint8Array.from({ length: 64 }, (_, i) => (i * 167) & 255)
const file = await buildContainer({
  tensors: [
    { name: 'a.w', dtype: 'F32', shape: [8, 8], trits: new Int8Array(64).fill(-1, 3, 9), scales: oneScale(1) },
    { name: 'a.v', dtype: 'F32', shape: [8, 8], trits: new Int8Array(64).fill(1, 7, 9), scales: oneScale(1) },
    { name: 'a.n', dtype: 'U8', shape: [64], bytes: noise },
  ],
})
const { table, scales, payload } = await takeApart(file)
const frames = table.frames as number[]
const crcs = table.crcs as number[]

describe('the table', () => {
  test('is JSON in column form', () => {
    expect(table).toEqual({
      kind: 'lora',
      origin: 'zero',
      options: {},
      codec: 2,
      shared: [0, 1, 1],
      names: ['a.w', 'v', 'n'],
      types: [
        ['F32', [8, 8], 1, 0],
        ['F32', [8, 8], 1, 1],
        ['U8', [64], 0, 0],
      ],
      type: [0, 1, 2],
      frames: [payload.length - 64],
      chunks: [64],
      crcs: [expect.any(Number), expect.any(Number)],
    })
  })

  test.each<[string, Record<string, unknown>, string]>([
    ['an unknown kind', { kind: 'dora' }, 'kind is none of lora, ia3, full'],
    ['an unknown origin', { origin: 'two' }, 'origin is none of'],
    ['no options', { options: undefined }, 'options is not an object'],
    ['metadata that is no text', { metadata: { a: 1 } }, 'metadata holds something that is no text'],
    ['a base without a digest', { base: { repo: 'a/b' } }, 'base holds digest'],
    ['a base with more in it', { base: { digest: 'x', url: 'y' } }, 'base holds digest'],
    ['base names of an unknown form', { base_names: { strip: 'a' } }, 'base_names holds either map or strip and add'],
    ['an unknown key', { compression: 'xz' }, 'unknown key, compression'],
    ['a name too few', { names: ['a.w', 'v'] }, 'the table has 2 names for 3 shared'],
    ['a name that is no text', { names: ['a.w', 'v', 4] }, 'names holds something that is no text'],
    ['two tensors of one name', { names: ['a.w', 'w', 'n'] }, 'two tensors are named a.w'],
    ['more shared segments than there are', { shared: [0, 5, 1] }, 'shares 5 name segments'],
    ['a type out of range', { type: [0, 1, 3] }, 'type holds something that is no integer from 0 to 2'],
    ['a type too few', { type: [0, 1] }, 'the table has 2 type for 3 names'],
    ['an unknown dtype', { types: [['F24', [8, 8], 1, 0], ...types(1)] }, 'dtype "F24" is unknown'],
    ['a packed dtype', { types: [['F4', [8, 8], 1, 0], ...types(1)] }, 'dtype "F4" is unknown'],
    ['trits of integers', { types: [['I32', [8, 8], 1, 0], ...types(1)] }, 'trits of dtype I32'],
    ['an unknown storage kind', { types: [['F32', [8, 8], 4, 0], ...types(1)] }, 'storage kind 4 is unknown'],
    ['a negative dimension', { types: [['F32', [-8, 8], 1, 0], ...types(1)] }, 'a dimension holds something'],
    ['a fractional dimension', { types: [['F32', [8.5, 8], 1, 0], ...types(1)] }, 'a dimension holds something'],
    ['endless dimensions', { types: [['F32', Array(65).fill(1), 1, 0], ...types(1)] }, 'a shape of 65 dimensions'],
    ['a product of 2^53', { types: [['F32', [2 ** 27, 2 ** 26], 1, 0], ...types(1)] }, 'has 2^53 entries or more'],
    ['2^31 trits', { types: [['F32', [2 ** 16, 2 ** 15], 1, 0], ...types(1)] }, 'has more than 2147483647 trits'],
    ['scales from before the first tensor', { types: [['F32', [8, 8], 1, 1], ...types(1)] }, 'before the first'],
    ['scales on a lossless tensor', { types: [...types(0, 2), ['U8', [64], 0, 1]] }, 'a lossless tensor with scales'],
    ['scales of another length', { types: [...types(0, 1), ['F32', [8, 8], 2, 1], ...types(2)] }, 'needs 8 scales'],
    ['more scales than the block', { types: [...types(0, 1), ['F32', [8, 8], 2, 0], ...types(2)] }, 'take 20 bytes of'],
    [
      'more frames than the plan',
      { frames: [frames[0]! - 1, 1], crcs: [...crcs, 0] },
      '2 trit frames for tensors that take 1',
    ],
    [
      'a shape that needs more frames',
      { types: [['F32', [600, 600], 1, 0], ...types(1)] },
      '1 trit frames for tensors',
    ],
    [
      'a chunk too few',
      { chunks: [], frames: [payload.length], crcs: crcs.slice(1) },
      '0 lossless chunks for tensors that take 1',
    ],
    ['an empty chunk', { chunks: [0], frames: [payload.length] }, 'chunk 0 of a.n has 0 bytes for 64'],
    ['a chunk larger than raw', { chunks: [65], frames: [frames[0]! - 1] }, 'chunk 0 of a.n has 65 bytes for 64'],
    ['a checksum too few', { crcs: crcs.slice(1) }, '1 checksums for 2 frames and chunks'],
    ['frames past the end', { frames: [frames[0]! + 1] }, 'the payload has'],
    ['a frame of no bytes', { frames: [0, ...frames], crcs: [0, ...crcs] }, 'trit frame 0 has no bytes'],
    ['a frame of 2^53 bytes', { frames: [2 ** 53] }, 'frames holds something that is no integer'],
    [
      'a prefix that makes more names than names may be',
      { base_names: { strip: '', add: 'x'.repeat(12_000_000) } },
      'base_names makes 36',
    ],
    ['references for other tensors', { references: [1, 2] }, 'the table has 2 references for 1 lossless tensors'],
  ])('with %s is refused', async (_, change, message) => {
    const opened = openBytes(await withTable(file, change))
    await expect(opened).rejects.toMatchObject({ code: 'CONTAINER_INVALID' })
    await expect(opened).rejects.toThrow(message)
  })

  test('with an unknown codec is refused', async () => {
    await expect(openBytes(await withTable(file, { codec: 200 }))).rejects.toMatchObject({ code: 'CODEC_UNKNOWN' })
  })

  test.each([
    ['no JSON', '{', 'no JSON of the kind allowed'],
    ['no object', '[]', 'not a JSON object'],
    ['a key twice', '{"kind":"lora","kind":"ia3"}', 'given twice'],
    ['endless nesting', `{"options":${'['.repeat(100_000)}`, 'nesting deeper than 32'],
    ['endless values', `[${'0,'.repeat(5_000_000)}0]`, '4194304 values'],
    ['half a surrogate pair', '{"kind":"\\ud800"}', 'half a surrogate pair'],
  ])('that is %s is refused', async (_, text, message) => {
    const bytes = await sealTable(new TextEncoder().encode(text), scales, payload)
    await expect(openBytes(bytes)).rejects.toThrow(message)
  })

  test('that is no UTF-8 is refused', async () => {
    const bytes = await sealTable(Uint8Array.of(0x7b, 0xff, 0x7d), scales, payload)
    await expect(openBytes(bytes)).rejects.toMatchObject({ code: 'CONTAINER_INVALID' })
  })

  test('keeps a key named __proto__ as a key', async () => {
    const metadata = JSON.parse('{"__proto__":"x"}')
    const container = await openBytes(await buildContainer({ header: { metadata }, tensors: [] }))
    expect(Object.entries(container.header.metadata)).toEqual([['__proto__', 'x']])
    expect(({} as Record<string, unknown>).x).toBeUndefined()
  })

  test('is never written with what a reader would refuse', async () => {
    const deep = JSON.parse(`${'['.repeat(40)}${']'.repeat(40)}`)
    await expect(buildContainer({ header: { options: { deep } }, tensors: [] })).rejects.toThrow('nesting deeper')
    const metadata = { a: '\ud800' }
    await expect(buildContainer({ header: { metadata }, tensors: [] })).rejects.toThrow('surrogate')
  })

  test.each<[string, Partial<ContainerHeader>]>([
    ['a prefix', { baseNames: { 'a.w': 'm.a.w' } }],
    ['no base', { base: null }],
    ['a base by digest alone', { base: { digest: 'sha256:ff' } }],
  ])('keeps %s', async (_, header) => {
    const bytes = new Uint8Array(4)
    const container = await openBytes(
      await buildContainer({ header, tensors: [{ name: 'a.w', dtype: 'F32', shape: [], bytes }] }),
    )
    expect(container.header).toMatchObject(header)
  })
})

function types(start: number, end = 3): unknown[] {
  const all = [
    ['F32', [8, 8], 1, 0],
    ['F32', [8, 8], 1, 1],
    ['U8', [64], 0, 0],
  ]
  return all.slice(start, end)
}
