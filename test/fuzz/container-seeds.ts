/** What the container fuzzer starts from: the valid vectors, and smaller files in which a change is sure to hit. */
import { readdirSync, readFileSync } from 'node:fs'
import { validCases } from '../../scripts/vectors/valid-cases.ts'
import { type Dtype, toF32 } from '../../tensors/dtype.ts'
import type { TensorSource } from '../../tensors/tensor.ts'
import { random } from '../fixtures/random.ts'
import { buildContainer, takeApart } from '../unit/compress/container-builder.ts'

const VECTORS = new URL('../../spec/vectors/', import.meta.url)

/** A container in pieces that can be changed one by one. */
export interface Pieces {
  /** Without frames, chunks and crcs, which follow from `stored`. */
  readonly table: Readonly<Record<string, unknown>>
  readonly scales: Uint8Array
  /** Stored frames, then stored chunks. */
  readonly stored: readonly Uint8Array[]
  /** How many of them are frames. */
  readonly frames: number
}

export interface Seed {
  readonly name: string
  readonly file: Uint8Array
  readonly pieces: Pieces
  /** Decodes to megabytes, or is long: drawn rarely. */
  readonly heavy: boolean
}

export interface Seeds {
  readonly valid: readonly Seed[]
  /** Files that break one rule each: material to splice and to change further. */
  readonly invalid: readonly Uint8Array[]
}

const HEAVY = /^(frames-|chunks|many-small)/

export async function loadSeeds(): Promise<Seeds> {
  const invalid = readdirSync(new URL('invalid/', VECTORS)).filter((file) => file.endsWith('.tern'))
  const vectors = validCases().map(({ name }) => [name, bytesOf(`valid/${name}.tern`)] as const)
  const tiny = await Promise.all((['bitplane', 'rice', 'sgr'] as const).map(tinyContainer))
  return {
    valid: await Promise.all([...vectors, ...tiny].map(([name, file]) => seed(name, file))),
    invalid: invalid.sort().map((file) => bytesOf(`invalid/${file}`)),
  }
}

function bytesOf(path: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(path, VECTORS)))
}

async function seed(name: string, file: Uint8Array): Promise<Seed> {
  const { table, scales, payload } = await takeApart(file)
  const { frames = [], chunks = [], crcs: _, ...rest } = table
  const lengths = [...(frames as number[]), ...(chunks as number[])]
  let end = 0
  const stored = lengths.map((length) => {
    end += length
    return payload.slice(end - length, end)
  })
  return {
    name,
    file,
    heavy: HEAVY.test(name),
    pieces: { table: rest, scales, stored, frames: (frames as number[]).length },
  }
}

async function tinyContainer(codec: string): Promise<readonly [name: string, file: Uint8Array]> {
  const uniform = random(codec.length)
  const trits = (n: number, density: number) =>
    Int8Array.from({ length: n }, () => (uniform() < density ? (uniform() < 0.5 ? -1 : 1) : 0))
  const file = await buildContainer({
    codec,
    tensors: [
      { name: 'm.a', dtype: 'F16', shape: [4, 6], trits: trits(24, 0.4), scales: scales('row', 4) },
      { name: 'm.b', dtype: 'F32', shape: [6, 4], trits: trits(24, 0.2), scales: scales('column', 4) },
      { name: 'm.c', dtype: 'BF16', shape: [9], trits: trits(9, 0.5), scales: scales('tensor', 1) },
      { name: 'n', dtype: 'I16', shape: [40], bytes: new Uint8Array(80).fill(3) },
    ],
  })
  return [`tiny-${codec}`, file]
}

function scales(axis: 'tensor' | 'row' | 'column', length: number) {
  return { axis, values: new Float32Array(length).fill(0.5) }
}

/** The bases of all valid vectors as one; a changed container asks it for whatever it asks. */
export function vectorBase(): TensorSource {
  const all = new Map<string, { dtype: Dtype; shape: readonly number[]; bytes: Uint8Array }>()
  for (const { base } of validCases()) for (const [name, one] of Object.entries(base ?? {})) all.set(name, one)
  return {
    tensors: [...all].map(([name, { dtype, shape }]) => ({ name, dtype, shape })),
    metadata: {},
    read: async (name) => toF32(all.get(name)!.bytes, all.get(name)!.dtype),
    readBytes: async (name) => all.get(name)!.bytes,
  }
}
