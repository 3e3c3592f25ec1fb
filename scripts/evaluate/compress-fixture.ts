/**
 * Compresses an adapter or a full fine-tune, reconstructs it, and writes a folder that peft and transformers load, so
 * that an evaluator can score what a user would get. Not part of the ordinary tests.
 *
 *     node scripts/evaluate/compress-fixture.ts EXPERT OUT_DIR [--base DIR] [option=value ...]
 *
 * EXPERT: a PEFT folder, a folder with model.safetensors, or a .safetensors file. Options are those of
 * compress/options.ts. Prints one JSON line: sizes, fidelity, warnings, seconds.
 */

import { existsSync, readFileSync } from 'node:fs'
import { copyFile, mkdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { compressExpert, type ExpertInput } from '../../compress/compressor.ts'
import { openContainer } from '../../compress/container-reader.ts'
import { memoryPayload } from '../../compress/container-writer.ts'
import { workerPool } from '../../compress/node/worker-pool.ts'
import { resolveOptions } from '../../compress/options.ts'
import { reconstructedSource } from '../../compress/reconstruct.ts'
import { parseAdapterConfig } from '../../tensors/adapter-config.ts'
import { memorySource } from '../../tensors/byte-source.ts'
import { fileSink } from '../../tensors/node/file-source.ts'
import { openModelFolder } from '../../tensors/node/model-folder.ts'
import { weightsDigest } from '../../tensors/node/weights-digest.ts'
import { safetensorsView } from '../../tensors/safetensors-view.ts'

async function main(args: string[]): Promise<void> {
  const baseDir = takeFlag(args, '--base')
  const [expert, out, ...assignments] = args
  if (expert === undefined || out === undefined) throw new Error('usage: compress-fixture.ts EXPERT OUT_DIR ...')
  const input = await openExpert(expert, baseDir)
  const options = resolveOptions(input.kind, Object.fromEntries(assignments.map((text) => text.split('=', 2))))
  const executor = workerPool()
  const started = performance.now()
  try {
    const compressed = await compressExpert(input, options, { executor, spool: memoryPayload() })
    const bytes = await gather(compressed.stream(), compressed.size)
    const seconds = (performance.now() - started) / 1000
    await writeReconstruction(bytes, expert, out, input)
    const { tensors: _tensors, modules, ...report } = compressed.report
    const lost = modules.filter((module) => module.lost !== null).length
    const cosines = modules.map(({ cosine }) => cosine).sort((a, b) => a - b)
    console.log(
      JSON.stringify({ ...report, lost, lowestCosine: cosines[0], warnings: compressed.warnings.length, seconds }),
    )
  } finally {
    await executor.close()
  }
}

function takeFlag(args: string[], flag: string): string | undefined {
  const at = args.indexOf(flag)
  return at < 0 ? undefined : args.splice(at, 2)[1]
}

async function openExpert(path: string, baseDir: string | undefined): Promise<ExpertInput> {
  const source = await openModelFolder(path)
  const configFile = join(path, 'adapter_config.json')
  if (existsSync(configFile)) {
    const adapterConfig = parseAdapterConfig(readFileSync(configFile, 'utf8'))
    return { kind: adapterConfig.peftType === 'LORA' ? 'lora' : 'ia3', source, adapterConfig }
  }
  if (baseDir === undefined) throw new Error('a full fine-tune needs --base')
  const base = await openModelFolder(baseDir)
  return { kind: 'full', source, base: { source: base, digest: await weightsDigest(base) } }
}

async function gather(stream: AsyncIterable<Uint8Array>, size: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(size)
  let offset = 0
  for await (const chunk of stream) {
    bytes.set(chunk, offset)
    offset += chunk.length
  }
  if (offset !== size) throw new Error(`${offset} bytes came where ${size} were announced`)
  return bytes
}

async function writeReconstruction(bytes: Uint8Array, expert: string, out: string, input: ExpertInput): Promise<void> {
  const container = await openContainer(memorySource(bytes))
  await container.verify()
  const weights = reconstructedSource(container, input.base?.source ? { base: input.base.source } : {})
  const view = safetensorsView(weights)
  await mkdir(out, { recursive: true })
  const sink = await fileSink(join(out, input.kind === 'full' ? 'model.safetensors' : 'adapter_model.safetensors'))
  for await (const chunk of view.stream(0, view.size)) await sink.write(chunk)
  await sink.end()
  for (const name of ['adapter_config.json', 'config.json']) {
    if (existsSync(join(expert, name))) await copyFile(join(expert, name), join(out, basename(name)))
  }
}

await main(process.argv.slice(2))
