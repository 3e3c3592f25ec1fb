/**
 * Reads safetensors, one tensor at a time, from anything that gives byte ranges: a single file, or shards with the
 * index.json that Hugging Face writes beside them.
 */
import type { ByteSource } from './byte-source.ts'
import { compareNames } from './compare-names.ts'
import { toF32, viewAsF32 } from './dtype.ts'
import { TensorError } from './errors.ts'
import { headerLength, parseHeader, type SafetensorsHeader, type TensorSpan } from './safetensors-header.ts'
import { parseShardIndex } from './shard-index.ts'
import type { TensorSource } from './tensor.ts'

/**
 * Reads and checks the header; no tensor is touched. Throws SAFETENSORS_INVALID, SAFETENSORS_HEADER_TOO_LARGE,
 * DTYPE_UNSUPPORTED. On an error the source is left open, to whoever opened it.
 */
export async function openSafetensors(source: ByteSource, signal?: AbortSignal): Promise<SafetensorsFile> {
  const first8 = await source.read(0, Math.min(8, source.size), signal)
  const length = headerLength(first8, source.size)
  return new SafetensorsFile(source, parseHeader(await source.read(8, 8 + length, signal), source.size))
}

/** One safetensors file whose header has been checked. */
export class SafetensorsFile implements TensorSource {
  readonly source: ByteSource
  readonly tensors: readonly TensorSpan[]
  readonly metadata: Readonly<Record<string, string>>
  private readonly spans: ReadonlyMap<string, TensorSpan>

  constructor(source: ByteSource, header: SafetensorsHeader) {
    this.source = source
    this.tensors = header.tensors
    this.metadata = header.metadata
    this.spans = new Map(header.tensors.map((tensor) => [tensor.name, tensor]))
  }

  /** Throws TENSOR_NOT_FOUND. */
  span(name: string): TensorSpan {
    const span = this.spans.get(name)
    if (!span) throw notFound(name)
    return span
  }

  async readBytes(name: string, signal?: AbortSignal): Promise<Uint8Array> {
    const { start, end } = this.span(name)
    return this.source.read(start, end, signal)
  }

  async readRange(name: string, start: number, end: number, signal?: AbortSignal): Promise<Uint8Array> {
    const span = this.span(name)
    if (start < 0 || end < start || end > span.end - span.start)
      throw new Error(`bytes ${start}..${end} of tensor ${name}, which has ${span.end - span.start}`)
    return this.source.read(span.start + start, span.start + end, signal)
  }

  /** The array is the caller's to write to. */
  async read(name: string, signal?: AbortSignal): Promise<Float32Array> {
    const { dtype } = this.span(name)
    const bytes = await this.readBytes(name, signal)
    // A file's bytes come in a buffer of their own, which can be handed on; a view of memory that others hold cannot.
    const own = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength
    return own ? viewAsF32(bytes, dtype) : toF32(bytes, dtype)
  }

  async close(): Promise<void> {
    await this.source.close?.()
  }
}

/** The shards of a model behind one list of tensors. */
export class ShardedSafetensors implements TensorSource {
  /** File by file in name order, each in the order of its bytes. */
  readonly tensors: readonly TensorSpan[]
  readonly metadata: Readonly<Record<string, string>>
  private readonly shardOf: ReadonlyMap<string, SafetensorsFile>
  private readonly shards: readonly SafetensorsFile[]

  constructor(shards: readonly SafetensorsFile[]) {
    this.shards = shards
    this.tensors = shards.flatMap((shard) => shard.tensors)
    // Where shards disagree the first one speaks; in practice all say {"format":"pt"}.
    this.metadata = Object.fromEntries(shards.toReversed().flatMap((shard) => Object.entries(shard.metadata)))
    this.shardOf = new Map(shards.flatMap((shard) => shard.tensors.map(({ name }) => [name, shard])))
  }

  /** The shard that holds a tensor. Throws TENSOR_NOT_FOUND. */
  shard(name: string): SafetensorsFile {
    const shard = this.shardOf.get(name)
    if (!shard) throw notFound(name)
    return shard
  }

  async readBytes(name: string, signal?: AbortSignal): Promise<Uint8Array> {
    return this.shard(name).readBytes(name, signal)
  }

  async readRange(name: string, start: number, end: number, signal?: AbortSignal): Promise<Uint8Array> {
    return this.shard(name).readRange(name, start, end, signal)
  }

  async read(name: string, signal?: AbortSignal): Promise<Float32Array> {
    return this.shard(name).read(name, signal)
  }

  async close(): Promise<void> {
    for (const shard of this.shards) await shard.close()
  }
}

/**
 * Opens every shard an index.json names and checks that the two agree: each file holds exactly the tensors that
 * weight_map gives it. `open` gets a plain file name, never a path. The stated total_size is not compared: public
 * models get it wrong (shared tensors counted twice), and nothing depends on it.
 * Throws SAFETENSORS_INVALID naming tensor and file; whatever was opened is closed again.
 */
export async function openSharded(
  indexJson: string,
  open: (file: string) => Promise<ByteSource>,
): Promise<ShardedSafetensors> {
  const weightMap = parseShardIndex(indexJson)
  const files = [...new Set(weightMap.values())].sort(compareNames)
  const opened: ByteSource[] = []
  try {
    const shards: SafetensorsFile[] = []
    for (const file of files) {
      const source = await open(file)
      opened.push(source)
      const shard = await openShard(file, source)
      checkShard(file, shard, weightMap)
      shards.push(shard)
    }
    checkComplete(weightMap, shards)
    return new ShardedSafetensors(shards)
  } catch (error) {
    for (const source of opened) await source.close?.()
    throw error
  }
}

async function openShard(file: string, source: ByteSource): Promise<SafetensorsFile> {
  try {
    return await openSafetensors(source)
  } catch (error) {
    if (!(error instanceof TensorError)) throw error
    throw new TensorError(error.code, `${file}: ${error.message}`, { ...error.detail, file }, { cause: error })
  }
}

function checkShard(file: string, shard: SafetensorsFile, weightMap: ReadonlyMap<string, string>): void {
  for (const { name } of shard.tensors) {
    const mapped = weightMap.get(name)
    if (mapped === file) continue
    const says = mapped === undefined ? 'does not name it' : `says ${mapped}`
    throw disagreement(`tensor ${JSON.stringify(name)} is in ${file}, but weight_map ${says}`, { tensor: name, file })
  }
}

function checkComplete(weightMap: ReadonlyMap<string, string>, shards: readonly SafetensorsFile[]): void {
  const present = new Set(shards.flatMap((shard) => shard.tensors.map(({ name }) => name)))
  for (const [name, file] of weightMap) {
    if (present.has(name)) continue
    throw disagreement(`weight_map says tensor ${JSON.stringify(name)} is in ${file}, but it is not there`, {
      tensor: name,
      file,
    })
  }
}

function disagreement(message: string, detail: Record<string, unknown>): TensorError {
  return new TensorError('SAFETENSORS_INVALID', message, detail)
}

function notFound(name: string): TensorError {
  return new TensorError('TENSOR_NOT_FOUND', `no tensor ${JSON.stringify(name.slice(0, 200))}`, { tensor: name })
}
