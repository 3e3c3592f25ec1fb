import { describe, expect, test } from 'vitest'
import { codecByName } from '../../../compress/codecs/codec-table.ts'
import { ContainerWriter, memoryPayload, type PlannedTensor } from '../../../compress/container-writer.ts'
import { inlineExecutor } from '../../../compress/executor-inline.ts'
import { buildContainer, collect, HEADER, oneScale, quantized, type TritSpec } from './container-builder.ts'

const W: TritSpec = {
  name: 'w',
  dtype: 'F32',
  shape: [4, 5],
  trits: new Int8Array(20).fill(1, 2, 7),
  scales: oneScale(0.5),
}
const PLAN: PlannedTensor[] = [
  { name: 'w', dtype: 'F32', shape: [4, 5], storage: 'trits' },
  { name: 'b', dtype: 'U8', shape: [3], storage: 'lossless' },
]

function writer(plan = PLAN): ContainerWriter {
  return new ContainerWriter(HEADER, plan, { codec: codecByName('rice'), spool: memoryPayload() })
}

describe('the container writer', () => {
  test('makes the same bytes with and without an executor', async () => {
    const shape = [900, 1000]
    const trits = Int8Array.from({ length: 900_000 }, (_, i) => (i % 37 === 0 ? (i % 2 === 0 ? 1 : -1) : 0))
    const tensors = [
      { ...W, shape, trits },
      { ...W, name: 'v' },
    ]
    const executor = inlineExecutor()
    const plan = tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape, storage: 'trits' as const }))
    const w = new ContainerWriter(HEADER, plan, { codec: codecByName('sgr'), spool: memoryPayload(), executor })
    for (const tensor of tensors) await w.addTrits(tensor.name, quantized(tensor))
    const bytes = await collect((await w.finish()).stream())
    expect(Buffer.compare(bytes, await buildContainer({ codec: 'sgr', tensors }))).toBe(0)
    await executor.close()
  })

  test('streams the same file as often as it is asked', async () => {
    const w = writer()
    await w.addTrits('w', quantized(W))
    await w.addLossless('b', Uint8Array.of(1, 2, 3))
    const finished = await w.finish()
    const first = await collect(finished.stream())
    expect(first.length).toBe(finished.size)
    expect(await collect(finished.stream())).toEqual(first)
  })

  test('insists on the order of the table', async () => {
    const w = writer()
    await expect(w.addLossless('b', new Uint8Array(3))).rejects.toThrow('tensor b added where none of its kind is due')
    await expect(w.addTrits('b', quantized(W))).rejects.toThrow('tensor b added where w is due')
    await w.addTrits('w', quantized(W))
    await expect(w.finish()).rejects.toThrow('1 of 2 tensors were added')
  })

  test.each([
    ['another shape', { ...W, shape: [5, 4] }, '5 x 4 trits for 4 x 5'],
    [
      'scales of another length',
      { ...W, scales: { axis: 'row', values: new Float32Array(5) } },
      '5 scales on axis row',
    ],
    ['a scale that is NaN', { ...W, scales: oneScale(Number.NaN) }, 'a scale of NaN'],
    ['a scale of -0', { ...W, scales: oneScale(-0) }, 'a scale of 0'],
  ] as const)('refuses trits with %s', async (_, spec, message) => {
    await expect(writer().addTrits('w', quantized(spec as TritSpec))).rejects.toThrow(message)
  })

  test('refuses a row scale that is no bf16 value', async () => {
    const scales = { axis: 'row', values: Float32Array.of(1, 1, 1, 1.001) } as const
    await expect(buildContainer({ tensors: [{ ...W, scales }] })).rejects.toThrow('is not a bf16 value')
  })

  test.each([
    ['past the end', [2, 20]],
    ['out of order', [7, 2]],
    ['twice', [2, 2 + 2 ** 31]],
  ])('refuses positions that are %s', async (_, positions) => {
    const q = { ...quantized(W), positions: Uint32Array.from(positions) }
    await expect(writer().addTrits('w', q)).rejects.toThrow('w: position')
  })

  test('refuses lossless bytes of another length than the shape has', async () => {
    const w = writer()
    await w.addTrits('w', quantized(W))
    await expect(w.addLossless('b', new Uint8Array(4))).rejects.toThrow('b: 4 bytes')
    await expect(w.addLossless('b', new Uint8Array(3), new Uint8Array(4))).rejects.toThrow('reference 4, expected 3')
  })

  test.each([
    ['2^31 trits', { name: 'w', dtype: 'F32', shape: [2 ** 16, 2 ** 15], storage: 'trits' }],
    ['lossless bytes over the limit', { name: 'w', dtype: 'F32', shape: [2 ** 33], storage: 'lossless' }],
    ['a shape beyond 2^53', { name: 'w', dtype: 'F32', shape: [2 ** 40, 2 ** 40, 0], storage: 'lossless' }],
  ] as const)('refuses %s before anything is written', (_, tensor) => {
    expect(() => writer([tensor])).toThrow(expect.objectContaining({ code: 'CONTAINER_INVALID' }))
  })
})
