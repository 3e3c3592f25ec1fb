/**
 * Writes spec/vectors: containers with what a reader must make of them, and containers that it must refuse with which
 * error. Expected values come from the inputs (scripts/vectors/), never from our own reader. Seeded: a second run differs
 * at most in zstd's bytes. usage: node scripts/make-vectors.ts
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { ContainerHeader } from '../compress/container-table.ts'
import { fromF32, toF32 } from '../tensors/dtype.ts'
import { collect, type TensorSpec, type TritSpec, writeContainer } from '../test/unit/compress/container-builder.ts'
import type { ValidCase } from './vectors/case.ts'
import { invalidCases } from './vectors/invalid-cases.ts'
import { validCases } from './vectors/valid-cases.ts'

const ROOT = fileURLToPath(new URL('../spec/vectors/', import.meta.url))

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** FORMAT.md, section 11, entry by entry. */
function reconstruct(tensor: TritSpec, { header, base, gain = 1 }: ValidCase): Uint8Array {
  const { trits, finer = [], scales, shape, name, dtype } = tensor
  const cols = shape.at(-1) ?? 1
  const origin =
    header.origin === 'base' ? toF32(baseOf(name, header, base).bytes, baseOf(name, header, base).dtype) : undefined
  const values = Float32Array.from(trits, (trit, i) => {
    const group = scales.axis === 'tensor' ? 0 : scales.axis === 'row' ? Math.floor(i / cols) : i % cols
    const from = origin?.[i] ?? (header.origin === 'one' ? 1 : 0)
    return [trit, ...finer.map((layer) => layer[i]!)].reduce((value, one, layer) => {
      const worth = 3 ** (finer.length - layer)
      return one === 0 ? value : Math.fround(value + one * Math.fround(scales.values[group]! * (worth * gain)))
    }, from)
  })
  return fromF32(values, dtype)
}

function baseOf(name: string, header: ContainerHeader, base: ValidCase['base']) {
  const names = header.baseNames ?? 'same'
  return base![names === 'same' ? name : (names[name] ?? name)]!
}

function describeTensor(tensor: TensorSpec, one: ValidCase): Record<string, unknown> {
  const { name, dtype, shape } = tensor
  if ('bytes' in tensor)
    return { name, dtype, shape, storage: 'lossless', bytes: tensor.bytes.length, sha256: sha256(tensor.bytes) }
  const bytes = reconstruct(tensor, one)
  const layers = [tensor.trits, ...(tensor.finer ?? [])]
  const trits = sha256(Uint8Array.from(layers.flatMap((layer) => [...Int8Array.from(layer)])))
  return { name, dtype, shape, storage: 'trits', bytes: bytes.length, sha256: sha256(bytes), trits_sha256: trits }
}

async function writeValid(one: ValidCase): Promise<void> {
  const finished = await writeContainer(one)
  const { kind, origin, base, options, metadata, adapterConfig, baseNames } = one.header
  const bases = Object.entries(one.base ?? {}).map(([name, { dtype, shape, bytes }]) => [
    name,
    { dtype, shape, base64: Buffer.from(bytes).toString('base64') },
  ])
  writePair(`valid/${one.name}`, await collect(finished.stream()), {
    description: one.description,
    codec: one.codec,
    header: {
      kind,
      origin,
      base,
      options,
      metadata,
      adapter_config: adapterConfig ?? null,
      base_names: baseNames ?? 'same',
    },
    gain: one.gain ?? 1,
    base: Object.fromEntries(bases),
    tensors: one.tensors.map((tensor) => describeTensor(tensor, one)),
  })
}

function writePair(name: string, file: Uint8Array, expected: unknown): void {
  writeFileSync(`${ROOT}${name}.tern`, file)
  writeFileSync(`${ROOT}${name}.json`, `${JSON.stringify(expected, null, 1)}\n`)
}

for (const folder of ['valid', 'invalid']) {
  mkdirSync(ROOT + folder, { recursive: true })
  for (const file of readdirSync(ROOT + folder)) if (/\.(tern|json)$/.test(file)) rmSync(`${ROOT}${folder}/${file}`)
}
for (const one of validCases()) await writeValid(one)
for (const { name, description, code, stage, file } of await invalidCases())
  writePair(`invalid/${name}`, file, { description, code, stage })
console.log(`${readdirSync(`${ROOT}valid`).length / 2} valid, ${readdirSync(`${ROOT}invalid`).length / 2} invalid`)
