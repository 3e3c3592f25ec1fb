/** Turns a container back into a folder with ordinary weights. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Container, openContainer } from '../compress/container-reader.ts'
import { CompressError } from '../compress/errors.ts'
import { kernels } from '../compress/kernels/default.ts'
import { reconstructedSource } from '../compress/reconstruct.ts'
import type { Dtype } from '../tensors/dtype.ts'
import { openFileSource } from '../tensors/node/file-source.ts'
import { openModelFolder } from '../tensors/node/model-folder.ts'
import { weightsDigest } from '../tensors/node/weights-digest.ts'
import { safetensorsView } from '../tensors/safetensors-view.ts'
import type { TensorSource } from '../tensors/tensor.ts'
import type { Run } from './context.ts'
import { DTYPE_NAMES } from './dtype-names.ts'
import { requirePath } from './expert-folder.ts'
import { formatBytes, formatFields } from './format.ts'
import { requireAbsent, requireFile, writeWhole } from './local-files.ts'
import { writeStream } from './write-stream.ts'

export interface DecompressFlags {
  readonly base?: string
  readonly dtype?: string
  readonly gain?: number
  readonly force?: boolean
}

export async function decompressFile(file: string, dir: string, flags: DecompressFlags, run: Run): Promise<void> {
  await requireFile(file)
  const bytes = await openFileSource(file)
  let base: TensorSource | undefined
  try {
    const container = await openContainer(bytes)
    const name = container.header.kind === 'full' ? 'model.safetensors' : 'adapter_model.safetensors'
    const target = join(dir, name)
    requireAbsent(target, flags.force === true)
    if (container.header.origin === 'base' && flags.base === undefined) throw baseRequired(container)
    base = flags.base === undefined ? undefined : await openBase(container, flags.base, run)
    const source = reconstructedSource(container, {
      kernels: kernels(),
      ...(base && { base }),
      ...(flags.dtype !== undefined && { dtype: DTYPE_NAMES[flags.dtype] as Dtype }),
      ...(flags.gain !== undefined && { gain: flags.gain }),
    })
    const view = safetensorsView(source)
    await mkdir(dir, { recursive: true })
    const progress = run.progress('decompress', 'bytes')
    await writeWhole(target, (part) =>
      writeStream(part, view.stream(0, view.size, run.signal), run.signal, (done) => progress.update(done, view.size)),
    )
    progress.finish()
    const files = [name, ...(await writeConfig(container, dir))]
    const result = { path: dir, kind: container.header.kind, files, bytes: view.size, tensors: source.tensors.length }
    run.print(
      result,
      formatFields({ wrote: join(dir, name), size: formatBytes(view.size), tensors: source.tensors.length }),
    )
  } finally {
    await base?.close?.()
    await bytes.close()
  }
}

/** adapter_config.json travels in the container's header, so that one file is a whole adapter. */
async function writeConfig(container: Container, dir: string): Promise<string[]> {
  const { adapterConfig } = container.header
  if (adapterConfig === undefined) return []
  await writeFile(join(dir, 'adapter_config.json'), `${JSON.stringify(adapterConfig, null, 2)}\n`)
  return ['adapter_config.json']
}

function baseRequired({ header: { base } }: Container): CompressError {
  const named = base?.repo ? ` (${base.repo})` : ''
  return new CompressError('BASE_REQUIRED', `the expert is a difference to the base ${base?.digest}${named}`, { base })
}

/** Fails closed: a wrong base would give weights that look right and are not. */
async function openBase(container: Container, path: string, run: Run): Promise<TensorSource> {
  await requirePath(path)
  const source = await openModelFolder(path)
  const expected = container.header.base?.digest
  const digest = expected === undefined ? undefined : await weightsDigest(source, run.signal)
  if (digest === expected) return source
  await source.close?.()
  throw new CompressError('BASE_MISMATCH', `${path} has the weights ${digest}; the expert was made from ${expected}`, {
    path,
    expected,
    actual: digest,
  })
}
