/** Sizes that SGR must reach, every byte of frames and side information counted. Numbers: spec/CODECS.md, "Sizes". */
import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { rice } from '../../../../compress/codecs/rice.ts'
import { sgr } from '../../../../compress/codecs/sgr.ts'
import { jsKernels } from '../../../../compress/kernels/js.ts'
import { fixturesDir } from '../../../fixtures/fixtures-dir.ts'
import { largestOfNormal, orderZeroBytes, storedBytes, type TritTensor } from '../../../fixtures/trits.ts'

describe('on random trits', () => {
  test.each([
    [0.01, 1.0059],
    [0.05, 1.0025],
    [0.1, 1.002],
    [0.2, 1.0012],
  ])('of density %d the size is within 0.3 % of %d times the order-0 bound', (density, expected) => {
    const tensors = [largestOfNormal(2048, 2048, density, 42)]
    expect(storedBytes(sgr, tensors) / orderZeroBytes(tensors)).toBeLessThan(expected * 1.003)
  })

  test('of density 0.05 the size is below that of the Rice code', () => {
    const tensors = [largestOfNormal(512, 2048, 0.05, 43)]
    expect(storedBytes(sgr, tensors)).toBeLessThan(storedBytes(rice, tensors))
  })
})

describe('on trits whose rows and columns differ in density', () => {
  test('the size is at most 0.72 times the order-0 bound at density 0.05 and log-normal scales of sigma 0.5', () => {
    const tensors = [largestOfNormal(2048, 2048, 0.05, 44, 0.5)]
    expect(storedBytes(sgr, tensors) / orderZeroBytes(tensors)).toBeLessThan(0.72)
  })
})

describe('on small tensors', () => {
  test.each([1, 2, 3, 4, 5])(
    'the size is at most that of the Rice code, a byte per tensor and a byte per frame (seed %i)',
    (seed) => {
      const tensors = [
        largestOfNormal(3, 5, 0.3, seed),
        largestOfNormal(1, 64, 0.1, seed + 10),
        largestOfNormal(16, 24, 0.05, seed + 20),
      ]
      expect(storedBytes(sgr, tensors)).toBeLessThanOrEqual(storedBytes(rice, tensors) + tensors.length + 1)
    },
  )
})

/** The k largest of all entries of the adapter's lora tensors, in file order. */
async function largestOfAdapter(path: string, density: number, scope: 'global' | 'tensor'): Promise<TritTensor[]> {
  const file = await readFile(path)
  const headerLength = Number(file.readBigUInt64LE(0))
  const header = JSON.parse(file.toString('utf8', 8, 8 + headerLength)) as Record<string, HeaderEntry>
  const tensors = Object.entries(header)
    .filter(([name]) => name.includes('.lora_'))
    .map(([, { dtype, shape, data_offsets }]) => {
      const [start, end] = data_offsets.map((offset) => 8 + headerLength + offset)
      const bytes = Uint8Array.from(file.subarray(start, end))
      return { rows: shape[0]!, cols: shape[1]!, values: toFloats(bytes, dtype) }
    })
  const shared =
    scope === 'global'
      ? threshold(
          tensors.map(({ values }) => values),
          density,
        )
      : undefined
  return tensors.map(({ rows, cols, values }) => ({
    rows,
    cols,
    positions: jsKernels.select(values, (shared ?? threshold([values], density)) - 1, 0),
  }))
}

interface HeaderEntry {
  readonly dtype: string
  readonly shape: number[]
  readonly data_offsets: number[]
}

function toFloats(bytes: Uint8Array, dtype: string): Float32Array {
  if (dtype === 'F32') return new Float32Array(bytes.buffer)
  const floats = new Float32Array(bytes.length / 2)
  jsKernels.widen(new Uint16Array(bytes.buffer), 'BF16', floats)
  return floats
}

/** Bits of the smallest magnitude that is kept. */
function threshold(arrays: Float32Array[], density: number): number {
  const all = new Float32Array(arrays.reduce((sum, { length }) => sum + length, 0))
  let offset = 0
  for (const array of arrays) {
    all.set(array.map(Math.abs), offset)
    offset += array.length
  }
  all.sort()
  return new Uint32Array(all.buffer)[all.length - Math.ceil(density * all.length)]!
}

const fixtures = fixturesDir()

describe.skipIf(fixtures === undefined)('on real adapters at density 0.05', () => {
  test.each([
    ['lora/debsection', 'global', 0.75],
    ['lora/moviesent', 'global', 0.75],
    ['lora/wnnoun', 'global', 0.75],
    ['lora-smollm2/debsection', 'global', 0.78],
    ['lora/debsection', 'tensor', 0.985],
    ['lora/moviesent', 'tensor', 0.98],
    ['lora/wnnoun', 'tensor', 0.965],
    ['lora-smollm2/debsection', 'tensor', 0.9],
  ] as const)(
    '%s (%s) takes at most its measured share of the order-0 bound, and less than Rice',
    async (name, scope, share) => {
      const tensors = await largestOfAdapter(`${fixtures}/${name}/adapter_model.safetensors`, 0.05, scope)
      const size = storedBytes(sgr, tensors)
      expect(size).toBeLessThan(share * orderZeroBytes(tensors))
      expect(size).toBeLessThan(storedBytes(rice, tensors))
    },
  )
})
