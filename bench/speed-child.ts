/**
 * What speed.ts runs outside its own process or thread, so that memory and threads are its own. As a process:
 * `compress|reconstruct FOLDER THREADS DENSITY`, prints JSON. As a thread: decodes its frames when told to.
 */
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import { compressExpert } from '../compress/compressor.ts'
import { openContainer } from '../compress/container-reader.ts'
import { filePayload } from '../compress/node/file-payload.ts'
import { workerPool } from '../compress/node/worker-pool.ts'
import { resolveOptions } from '../compress/options.ts'
import { reconstructedSource } from '../compress/reconstruct.ts'
import { openFileSource } from '../tensors/node/file-source.ts'
import { openModelFolder } from '../tensors/node/model-folder.ts'
import { safetensorsView } from '../tensors/safetensors-view.ts'
import { type CodedFrame, decodeToBf16 } from './coding.ts'
import { cpuMs } from './measure.ts'

async function compress(folder: string, threads: number, density: number): Promise<void> {
  const source = await openModelFolder(join(folder, 'expert'))
  const base = await openModelFolder(join(folder, 'base'))
  const spool = await filePayload(join(folder, 'payload'))
  const executor = workerPool(threads)
  const input = { kind: 'full', source, base: { source: base, digest: `sha256:${'0'.repeat(64)}` } } as const
  const made = await compressExpert(input, resolveOptions('full', { density }), { executor, spool })
  await write(join(folder, 'expert.tern'), made.stream())
  await spool.close()
  await executor.close()
}

async function reconstruct(folder: string): Promise<void> {
  const container = await openContainer(await openFileSource(join(folder, 'expert.tern')))
  const base = await openModelFolder(join(folder, 'base'))
  await write(join(folder, 'again.safetensors'), safetensorsView(reconstructedSource(container, { base })).stream())
}

async function write(path: string, stream: AsyncIterable<Uint8Array>): Promise<void> {
  const file = await open(path, 'w')
  let writing: Promise<void> = Promise.resolve()
  for await (const chunk of stream) {
    await writing
    writing = file.writeFile(chunk)
  }
  await writing
  await file.close()
}

async function runProcess([task, folder, threads, density]: string[]): Promise<void> {
  const idle = process.memoryUsage.rss()
  const cpu = cpuMs()
  const start = performance.now()
  if (task === 'compress') await compress(folder as string, Number(threads), Number(density))
  else await reconstruct(folder as string)
  const ms = performance.now() - start
  console.log(JSON.stringify({ ms, cpuMs: cpuMs() - cpu, idle, peak: process.resourceUsage().maxRSS * 1024 }))
  process.exit(0)
}

function runThread({ frames, length }: { frames: CodedFrame[]; length: number }): void {
  const out = new Uint16Array(length)
  parentPort?.on('message', (rounds: number) => {
    for (let i = 0; i < rounds; i++) decodeToBf16(frames, out)
    parentPort?.postMessage('done')
  })
  parentPort?.postMessage('ready')
}

if (isMainThread) await runProcess(process.argv.slice(2))
else runThread(workerData)
