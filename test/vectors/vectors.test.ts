import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { decompress } from '../../compress/bytes/zstd.ts'
import { decodeFramePortable } from '../../compress/bytes/zstd-portable.ts'
import { readFixedHeader } from '../../compress/container-layout.ts'
import { type Container, openContainer } from '../../compress/container-reader.ts'
import { tensorBytes } from '../../compress/container-table.ts'
import { chunkCount, chunkLength } from '../../compress/lossless.ts'
import { INDEX_MASK, SIGN_BIT } from '../../compress/quantized-tensor.ts'
import { reconstructedSource } from '../../compress/reconstruct.ts'
import { memorySource } from '../../tensors/byte-source.ts'
import { type Dtype, toF32 } from '../../tensors/dtype.ts'
import type { TensorSource } from '../../tensors/tensor.ts'
import { takeApart } from '../unit/compress/container-builder.ts'

const ROOT = fileURLToPath(new URL('../../spec/vectors/', import.meta.url))

interface ValidExpectation {
  readonly codec: string
  readonly header: Record<string, unknown>
  readonly gain: number
  readonly base: Record<string, { dtype: Dtype; shape: number[]; base64: string }>
  readonly tensors: {
    name: string
    dtype: Dtype
    shape: number[]
    storage: string
    bytes: number
    sha256: string
    trits_sha256?: string
  }[]
}

function names(folder: string): string[] {
  const files = readdirSync(ROOT + folder)
  return files.filter((file) => file.endsWith('.tern')).map((file) => file.slice(0, -'.tern'.length))
}

function load(path: string): Uint8Array {
  return new Uint8Array(readFileSync(`${ROOT}${path}.tern`))
}

function expectation<T>(path: string): T {
  return JSON.parse(readFileSync(`${ROOT}${path}.json`, 'utf8'))
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function baseSource(base: ValidExpectation['base']): TensorSource {
  const bytes = (name: string) => new Uint8Array(Buffer.from(base[name]!.base64, 'base64'))
  return {
    tensors: Object.entries(base).map(([name, { dtype, shape }]) => ({ name, dtype, shape })),
    metadata: {},
    read: async (name) => toF32(bytes(name), base[name]!.dtype),
    readBytes: async (name) => bytes(name),
  }
}

async function denseTrits(container: Container, name: string): Promise<Uint8Array> {
  const { rows, cols, positions, finer = [] } = await container.readTrits(name)
  const dense = new Int8Array(rows * cols * (1 + finer.length))
  for (const [layer, trits] of [positions, ...finer].entries())
    for (const position of trits) dense[layer * rows * cols + (position & INDEX_MASK)] = position >= SIGN_BIT ? -1 : 1
  return new Uint8Array(dense.buffer)
}

describe('valid vectors', () => {
  test('are there', () => {
    expect(names('valid').length).toBeGreaterThan(15)
    expect(readdirSync(`${ROOT}valid`)).toHaveLength(2 * names('valid').length)
  })

  test.each(names('valid'))('%s decodes to what its description says', async (name) => {
    const expected = expectation<ValidExpectation>(`valid/${name}`)
    const container = await openContainer(memorySource(load(`valid/${name}`)))
    const { adapterConfig = null, baseNames, ...header } = container.header
    expect({ ...header, adapter_config: adapterConfig, base_names: baseNames }).toEqual(expected.header)
    expect(container.codec).toBe(expected.codec)
    expect(container.tensors).toEqual(
      expected.tensors.map(({ name, dtype, shape, storage }) => ({ name, dtype, shape, storage })),
    )
    await container.verify()
    const source = reconstructedSource(container, { base: baseSource(expected.base), gain: expected.gain })
    for (const tensor of expected.tensors) {
      const bytes = await source.readBytes(tensor.name)
      expect([tensor.name, bytes.length, sha256(bytes)]).toEqual([tensor.name, tensor.bytes, tensor.sha256])
      if (tensor.trits_sha256)
        expect(sha256(await denseTrits(container, tensor.name)), tensor.name).toBe(tensor.trits_sha256)
    }
  })

  test.each(names('valid'))('%s has zstd frames that another zstd library reads too', async (name) => {
    const runs = await zstdRuns(load(`valid/${name}`))
    for (const { run, rawLength } of runs) {
      const native = await decompress(run, rawLength, 'run')
      expect(Buffer.compare(await decompress(run, rawLength, 'run', decodeFramePortable), native)).toBe(0)
    }
  })
})

/** Table, scales, and every lossless chunk that is not stored as it is. */
async function zstdRuns(file: Uint8Array): Promise<{ run: Uint8Array; rawLength: number }[]> {
  const h = readFixedHeader(file, file.length)
  const { table } = await takeApart(file)
  const { tensors } = await openContainer(memorySource(file))
  const lossless = tensors.filter(({ storage }) => storage === 'lossless').map(tensorBytes)
  const rawLengths = lossless.flatMap((bytes) =>
    Array.from({ length: chunkCount(bytes) }, (_, chunk) => chunkLength(bytes, chunk)),
  )
  const stored = (table.chunks ?? []) as number[]
  let end = file.length - stored.reduce((sum, length) => sum + length, 0)
  const chunks = stored.map((length, i) => {
    end += length
    return { run: file.subarray(end - length, end), rawLength: rawLengths[i]! }
  })
  return [
    { run: file.subarray(64, 64 + h.tableStored), rawLength: h.tableRaw },
    { run: file.subarray(64 + h.tableStored, 64 + h.tableStored + h.scalesStored), rawLength: h.scalesRaw },
    ...chunks.filter(({ run, rawLength }) => run.length < rawLength),
  ]
}

describe('invalid vectors', () => {
  test('are there', () => {
    expect(names('invalid').length).toBeGreaterThan(80)
    expect(readdirSync(`${ROOT}invalid`)).toHaveLength(2 * names('invalid').length)
  })

  test.each(names('invalid'))('%s is refused with its code, at its stage', async (name) => {
    const { code, stage } = expectation<{ code: string; stage: string }>(`invalid/${name}`)
    const opened = openContainer(memorySource(load(`invalid/${name}`)))
    if (stage === 'open') return expect(opened).rejects.toMatchObject({ code })
    const container = await opened
    await expect(container.verify()).rejects.toMatchObject({ code })
    const bad = container.tensors.map(async ({ name, storage }) =>
      storage === 'trits' ? container.readTrits(name) : container.readLossless(name),
    )
    const outcomes = await Promise.allSettled(bad)
    expect(outcomes.filter(({ status }) => status === 'rejected')).not.toHaveLength(0)
    for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code })
  })
})
