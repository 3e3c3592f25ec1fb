import { describe, expect, test } from 'vitest'
import { FRAME_CELLS } from '../../../compress/codecs/frames.ts'
import type { TritCodec } from '../../../compress/codecs/trit-codec.ts'
import { openContainer } from '../../../compress/container-reader.ts'
import { memorySource } from '../../../tensors/byte-source.ts'
import {
  buildContainer,
  HEADER,
  oneScale,
  openBytes,
  quantized,
  type TritSpec,
  writeContainer,
} from './container-builder.ts'

const CODECS: TritCodec['name'][] = ['bitplane', 'rice', 'sgr']

/** Every `step`-th entry is set, signs alternating. */
function sparse(name: string, shape: number[], step: number): TritSpec {
  const trits = new Int8Array(shape.reduce((a, b) => a * b, 1))
  for (let i = step >> 1; i < trits.length; i += step) trits[i] = i % 3 === 0 ? -1 : 1
  return { name, dtype: 'F32', shape, trits, scales: oneScale(0.5) }
}

describe.each(CODECS)('a container with %s trits', (codec) => {
  test('gives back the trits of every tensor, in whatever order they are read', async () => {
    const tensors = [
      sparse('a.small', [16, 20], 7),
      sparse('b.over.one.frame', [700, 500], 91),
      sparse('c.tail', [3, 5], 2),
      sparse('d.empty', [0, 5], 1),
      sparse('e.scalar', [], 1),
      sparse('f.long.row', [2, FRAME_CELLS + 3], 5001),
      sparse('g.last', [12], 5),
    ]
    const file = await buildContainer({ codec, tensors })
    for (const order of [tensors, [...tensors].reverse(), [tensors[2]!, tensors[6]!, tensors[1]!, tensors[5]!]]) {
      const container = await openBytes(file)
      for (const tensor of order) expect(await container.readTrits(tensor.name)).toEqual(quantized(tensor))
    }
  })

  test('passes its own verification', async () => {
    const container = await openBytes(await buildContainer({ codec, tensors: [sparse('w', [700, 500], 33)] }))
    expect(container.codec).toBe(codec)
    await container.verify()
  })
})

describe('a container', () => {
  test('is exactly as long as its parts', async () => {
    const bytes = new Uint8Array(Float32Array.from({ length: 100 }, Math.sin).buffer)
    const lossless = { name: 'head', dtype: 'F32', shape: [100], bytes } as const
    const finished = await writeContainer({ tensors: [sparse('w', [64, 64], 9), lossless] })
    const { table, scales, trits, lossless: stored } = finished.bytes
    const container = await openBytes(await buildContainer({ tensors: [sparse('w', [64, 64], 9), lossless] }))
    expect(finished.size).toBe(64 + table + scales + trits + stored)
    expect(container.bytes).toEqual(finished.bytes)
  })

  test('keeps header, names, dtypes, shapes and their order', async () => {
    const header = {
      kind: 'full',
      origin: 'base',
      base: { digest: 'sha256:00', repo: 'acme/base', revision: 'main' },
      options: { density: 0.05, scope: 'global', include: ['a.*'] },
      metadata: { format: 'pt', 'naïve "key"': '\u2028' },
      adapterConfig: { r: 16, target_modules: ['q'], nested: { a: null } },
      baseNames: 'same',
    } as const
    const lossless = { name: 'z.first', dtype: 'I64', shape: [2], bytes: new Uint8Array(16) } as const
    const tensors = [lossless, { ...sparse('model.é.weight', [4, 4], 3), dtype: 'BF16' as const }]
    const container = await openBytes(await buildContainer({ header, tensors }))
    expect(container.header).toEqual(header)
    expect(container.tensors).toEqual([
      { name: 'z.first', dtype: 'I64', shape: [2], storage: 'lossless' },
      { name: 'model.é.weight', dtype: 'BF16', shape: [4, 4], storage: 'trits' },
    ])
  })

  test('may hold no tensor at all', async () => {
    const container = await openBytes(await buildContainer({ tensors: [] }))
    expect(container.tensors).toEqual([])
    expect(container.header).toEqual({ ...HEADER, baseNames: 'same' })
    await container.verify()
  })

  test('stores scales once where neighbours or a distant tensor share them', async () => {
    const ranks = Float32Array.of(0.5, 0.25, 1, 2)
    const a = { ...sparse('m.lora_A.weight', [4, 300], 9), scales: { axis: 'row', values: ranks } } as const
    const b = { ...sparse('m.lora_B.weight', [200, 4], 9), scales: { axis: 'column', values: ranks } } as const
    const other = { ...sparse('n', [4, 4], 3), scales: { axis: 'row', values: ranks.map((x) => 2 * x) } } as const
    const tensors = [a, b, other, { ...a, name: 'o' }]
    const file = await buildContainer({ tensors })
    const container = await openBytes(file)
    expect(new DataView(file.buffer).getUint32(24, true)).toBe(2 * 4 * 2)
    for (const tensor of tensors) expect(await container.readTrits(tensor.name)).toEqual(quantized(tensor))
  })

  test('never shares one f32 scale with a row of one bf16', async () => {
    const tensor = sparse('a', [1, 50], 9)
    const row = { ...tensor, name: 'b', scales: { axis: 'row', values: Float32Array.of(0.5) } } as const
    const container = await openBytes(await buildContainer({ tensors: [tensor, row] }))
    expect((await container.readTrits('b')).scales).toEqual(row.scales)
  })

  test('reads a tensor of many frames with one request', async () => {
    const file = await buildContainer({ tensors: [sparse('w', [1500, 1000], 11), sparse('v', [9], 2)] })
    const reads: number[] = []
    const memory = memorySource(file)
    const container = await openContainer({
      size: memory.size,
      read(start, end) {
        reads.push(end - start)
        return memory.read(start, end)
      },
    })
    reads.length = 0
    await container.readTrits('w')
    expect(reads.length).toBe(1)
  })

  test('decodes a frame that small tensors share once when they are read in order', async () => {
    const tensors = Array.from({ length: 20 }, (_, i) => sparse(`w.${i}`, [10, 10], 3))
    const memory = memorySource(await buildContainer({ tensors }))
    let reads = 0
    const container = await openContainer({
      size: memory.size,
      read(start, end) {
        reads++
        return memory.read(start, end)
      },
    })
    for (const { name } of tensors) await container.readTrits(name)
    expect(reads).toBe(2)
  })

  test('can be read by several readers at once', async () => {
    const tensors = [sparse('a', [700, 500], 91), sparse('b', [700, 500], 17), sparse('c', [5, 5], 2)]
    const container = await openBytes(await buildContainer({ codec: 'sgr', tensors }))
    const read = await Promise.all([2, 0, 1, 2, 0].map((i) => container.readTrits(tensors[i]!.name)))
    expect(read).toEqual([2, 0, 1, 2, 0].map((i) => quantized(tensors[i]!)))
  })
})
