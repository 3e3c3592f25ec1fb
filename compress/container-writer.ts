/**
 * Writes a container: trits and bytes go to a spool as they come, table and scales are made when all is known, and the
 * finished file is read as one stream. FORMAT.md.
 */
import { dtypeBytes } from '../tensors/dtype.ts'
import type { TensorInfo } from '../tensors/tensor.ts'
import { crc32 } from './bytes/crc32.ts'
import { compress } from './bytes/zstd.ts'
import { checkedCodec } from './checked-codec.ts'
import { type FrameSlice, planFrames } from './codecs/frames.ts'
import type { EncodePart, TritCodec } from './codecs/trit-codec.ts'
import { joinStoredFrame } from './container-frames.ts'
import { HEADER_BYTES, invalid, MAX_LOSSLESS_TENSOR_BYTES, writeFixedHeader } from './container-layout.ts'
import { matrixOf } from './container-map.ts'
import { encodeScales } from './container-scales.ts'
import { type ContainerHeader, checkShape, encodeTable, type TableTensor, tensorBytes } from './container-table.ts'
import type { Executor } from './executor.ts'
import { kernels } from './kernels/default.ts'
import { packLossless } from './lossless.ts'
import { INDEX_MASK, layerWorths, MAX_ENTRIES, type QuantizedTensor, type Scales } from './quantized-tensor.ts'

/** Table and scales are small and read by everyone who opens the file: the strongest level is right. */
export const HEAD_LEVEL = 19

/** Where the payload waits until the table is known. Made and closed by the caller. */
export interface PayloadSpool {
  append(bytes: Uint8Array): Promise<void>
  readonly size: number
  /** The bytes [start, end) of what was appended; all of it without a range. */
  read(start?: number, end?: number): AsyncIterable<Uint8Array>
  /** Forgets the bytes. */
  close(): Promise<void>
}

/** A spool in memory, for small containers. */
export function memoryPayload(): PayloadSpool {
  let pieces: Uint8Array[] = []
  let size = 0
  return {
    async append(bytes) {
      pieces.push(bytes)
      size += bytes.length
    },
    get size() {
      return size
    },
    async *read(start = 0, end = size) {
      let at = 0
      for (const piece of pieces) {
        const cut = piece.subarray(Math.max(0, start - at), Math.max(0, end - at))
        if (cut.length > 0) yield cut
        at += piece.length
      }
    },
    async close() {
      pieces = []
    },
  }
}

export type PlannedTensor = TensorInfo & { readonly storage: 'trits' | 'lossless' }

export interface ContainerWriterOptions {
  readonly codec: TritCodec
  readonly spool: PayloadSpool
  /** Layers of trits that every tensor has (default 1). */
  readonly layers?: number
  /** Runs the entropy coder; without one it runs here. */
  readonly executor?: Executor
  readonly signal?: AbortSignal
}

/** Stored bytes of the four parts behind the fixed header. */
export interface PartBytes {
  readonly table: number
  readonly scales: number
  readonly trits: number
  readonly lossless: number
}

export interface FinishedContainer {
  readonly size: number
  readonly bytes: PartBytes
  stream(): AsyncIterable<Uint8Array>
}

/** What the table will say of a tensor beyond its TensorInfo; filled in as tensors are added. */
type Recorded = Pick<TableTensor, 'storage' | 'sameScales' | 'referenceCrc'>

/** A frame or chunk in the spool. */
interface Stored {
  readonly start: number
  readonly length: number
  readonly crc: number
}

/** One container in the making. Methods are called one at a time: every trit tensor, every lossless one, finish. */
export class ContainerWriter {
  readonly #header: ContainerHeader
  readonly #tensors: readonly PlannedTensor[]
  readonly #trits: readonly PlannedTensor[]
  readonly #lossless: readonly PlannedTensor[]
  readonly #o: ContainerWriterOptions
  readonly #slices: readonly FrameSlice[]
  readonly #lastOfFrame: ReadonlySet<FrameSlice>
  readonly #recorded = new Map<string, Recorded>()
  readonly #scales = new ScalesCollector()
  /** Per layer, in order. In the spool they lie as they were made: a frame of each layer in turn. */
  readonly #frames: readonly Stored[][]
  readonly #chunks: Stored[] = []
  readonly #encoding: Promise<{ layer: number; parts: readonly EncodePart[]; body: Uint8Array }>[] = []
  #nextSlice = 0
  /** Per layer. */
  readonly #open: EncodePart[][]
  #tritBytes = 0

  /** `tensors` in the order of the expert's file, which is the order of the table. Throws CONTAINER_INVALID over a limit. */
  constructor(header: ContainerHeader, tensors: readonly PlannedTensor[], o: ContainerWriterOptions) {
    this.#header = header
    this.#tensors = tensors
    this.#trits = tensors.filter(({ storage }) => storage === 'trits')
    this.#lossless = tensors.filter(({ storage }) => storage === 'lossless')
    this.#o = o
    for (const { shape } of tensors) checkShape(shape)
    this.#trits.forEach(checkTritShape)
    this.#lossless.forEach(checkLosslessShape)
    const frames = planFrames(this.#trits.map(({ shape }) => matrixOf(shape)))
    this.#slices = frames.flat()
    this.#lastOfFrame = new Set(frames.map((slices) => slices.at(-1)!))
    const layers = Array.from({ length: o.layers ?? 1 })
    this.#frames = layers.map(() => [])
    this.#open = layers.map(() => [])
  }

  /** Trit tensors in table order. */
  async addTrits(name: string, q: QuantizedTensor): Promise<void> {
    const index = this.#expect(name, this.#trits, 0)
    const { rows, cols } = matrixOf(this.#trits[index]!.shape)
    if (q.rows !== rows || q.cols !== cols)
      throw new Error(`${name}: ${q.rows} x ${q.cols} trits for ${rows} x ${cols}`)
    const layers = [q.positions, ...(q.finer ?? [])]
    if (layers.length !== this.#frames.length)
      throw new Error(`${name}: ${layers.length} layers for a container of ${this.#frames.length}`)
    for (const positions of layers) checkPositions(name, positions, rows * cols)
    const sameScales = this.#scales.add(name, q)
    this.#recorded.set(name, { storage: q.scales.axis, sameScales, referenceCrc: null })
    if (rows * cols === 0) return
    const sides = layers.map((positions) =>
      this.#o.codec.chooseSide({ rows, cols, ...kernels().marginals(positions, rows, cols) }),
    )
    for (; this.#slices[this.#nextSlice]?.tensor === index; this.#nextSlice++) {
      const slice = this.#slices[this.#nextSlice]!
      const { start, cells } = slice
      layers.forEach((positions, layer) => {
        const part = { rows, cols, start, cells, side: sides[layer]! }
        this.#open[layer]!.push({ ...part, positions: cutPositions(positions, start, cells) })
      })
      if (this.#lastOfFrame.has(slice)) for (const layer of layers.keys()) await this.#closeFrame(layer)
    }
  }

  /** After all trits, in table order. `reference`: the base tensor's bytes where it has the same dtype and shape. */
  async addLossless(name: string, bytes: Uint8Array, reference?: Uint8Array): Promise<void> {
    const info = this.#lossless[this.#expect(name, this.#lossless, this.#trits.length)]!
    const expected = tensorBytes(info)
    if (bytes.length !== expected || (reference !== undefined && reference.length !== expected))
      throw new Error(`${name}: ${bytes.length} bytes, reference ${reference?.length}, expected ${expected}`)
    await this.#drain(0)
    const packed = await packLossless(bytes, dtypeBytes(info.dtype), reference, this.#o.signal)
    this.#recorded.set(name, { storage: 'lossless', sameScales: 0, referenceCrc: packed.referenceCrc })
    for (const chunk of packed.chunks) this.#chunks.push(await this.#append(chunk))
  }

  async finish(): Promise<FinishedContainer> {
    if (this.#recorded.size !== this.#tensors.length)
      throw new Error(`${this.#recorded.size} of ${this.#tensors.length} tensors were added`)
    await this.#drain(0)
    const frames = this.#frames.flat()
    const rawTable = encodeTable({
      header: this.#header,
      codec: this.#o.codec.id,
      tensors: this.#tensors.map((info) => ({ ...info, ...this.#recorded.get(info.name)! })),
      layers: layerWorths(this.#frames.length),
      frames: frames.map(({ length }) => length),
      chunks: this.#chunks.map(({ length }) => length),
      crcs: [...frames, ...this.#chunks].map(({ crc }) => crc),
    })
    const rawScales = encodeScales(this.#scales.stored)
    const table = await compress(rawTable, HEAD_LEVEL)
    const scales = await compress(rawScales, HEAD_LEVEL)
    const { spool } = this.#o
    const [coarse, ...finer] = this.#frames
    const ranges = joinRanges([...coarse!, ...this.#chunks, ...finer.flat()])
    const sizes = {
      tableStored: table.length,
      tableRaw: rawTable.length,
      scalesStored: scales.length,
      scalesRaw: rawScales.length,
      payload: spool.size,
    }
    const head = await writeFixedHeader(sizes, table, scales)
    return {
      size: HEADER_BYTES + table.length + scales.length + spool.size,
      bytes: {
        table: table.length,
        scales: scales.length,
        trits: this.#tritBytes,
        lossless: spool.size - this.#tritBytes,
      },
      async *stream() {
        yield head
        yield table
        yield scales
        for (const { start, length } of ranges) yield* spool.read(start, start + length)
      },
    }
  }

  /** Index within `list` of the tensor that is due; anything else is a bug of the caller. */
  #expect(name: string, list: readonly PlannedTensor[], before: number): number {
    this.#o.signal?.throwIfAborted()
    const index = this.#recorded.size - before
    const due = list[index]?.name
    if (due !== name) throw new Error(`tensor ${name} added where ${due ?? 'none of its kind'} is due`)
    return index
  }

  async #closeFrame(layer: number): Promise<void> {
    const { codec, executor, signal } = this.#o
    const parts = this.#open[layer]!
    this.#open[layer] = []
    const body = executor
      ? executor.run('encodeFrame', { codec: codec.name, parts }, signal)
      : Promise.resolve(checkedCodec(codec).encodeFrame(parts))
    const encoded = body.then((bytes) => ({ layer, parts, body: bytes }))
    // Awaited when its turn comes; until then a failure must not count as unhandled.
    encoded.catch(() => {})
    this.#encoding.push(encoded)
    await this.#drain(executor ? executor.width * 2 : 0)
  }

  /** Appends finished frames, in order, until at most `left` are being encoded. */
  async #drain(left: number): Promise<void> {
    while (this.#encoding.length > left) {
      this.#o.signal?.throwIfAborted()
      const { layer, parts, body } = await this.#encoding[0]!
      this.#encoding.splice(0, 1)
      const stored = joinStoredFrame(parts, body)
      this.#frames[layer]!.push(await this.#append(stored))
      this.#tritBytes += stored.length
    }
  }

  async #append(bytes: Uint8Array): Promise<Stored> {
    const start = this.#o.spool.size
    await this.#o.spool.append(bytes)
    return { start, length: bytes.length, crc: crc32(bytes) }
  }
}

/** Neighbours become one range: a container of plain trits is read in one go. */
function joinRanges(pieces: readonly Stored[]): { start: number; length: number }[] {
  const ranges: { start: number; length: number }[] = []
  for (const { start, length } of pieces) {
    const last = ranges.at(-1)
    if (last !== undefined && last.start + last.length === start) last.length += length
    else ranges.push({ start, length })
  }
  return ranges
}

function checkTritShape({ name, shape }: TensorInfo): void {
  const { rows, cols } = matrixOf(shape)
  if (rows > MAX_ENTRIES || cols > MAX_ENTRIES || rows * cols > MAX_ENTRIES)
    throw invalid(`tensor ${name} of shape [${shape.join(', ')}] has more than ${MAX_ENTRIES} entries to be trits`, {
      tensor: name,
      shape,
    })
}

/** A position that does not belong would be dropped in silence when frames are cut. */
function checkPositions(name: string, positions: Uint32Array, entries: number): void {
  let previous = -1
  for (let i = 0; i < positions.length; i++) {
    const index = positions[i]! & INDEX_MASK
    if (index <= previous || index >= entries)
      throw new Error(`${name}: position ${index} after ${previous} of ${entries} entries`)
    previous = index
  }
}

function checkLosslessShape(info: TensorInfo): void {
  const bytes = tensorBytes(info)
  if (bytes > MAX_LOSSLESS_TENSOR_BYTES)
    throw invalid(`tensor ${info.name} has ${bytes} bytes; the most is ${MAX_LOSSLESS_TENSOR_BYTES}`, {
      tensor: info.name,
    })
}

/**
 * The positions in [start, start + cells), relative to start. A copy of their own: sending a view to a worker would
 * send all the memory behind it.
 */
export function cutPositions(positions: Uint32Array, start: number, cells: number): Uint32Array {
  const cut = positions.slice(lowerBound(positions, start), lowerBound(positions, start + cells))
  for (let i = 0; i < cut.length; i++) cut[i]! -= start
  return cut
}

/** How many of the ascending positions have an index below `index`. */
function lowerBound(positions: Uint32Array, index: number): number {
  let low = 0
  let high = positions.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((positions[middle]! & INDEX_MASK) < index) low = middle + 1
    else high = middle
  }
  return low
}

/** Collects scales, and sees when a tensor has those of one before it. */
class ScalesCollector {
  /** To be stored, in order. */
  readonly stored: Scales[] = []
  readonly #last = new Map<string, number>()
  #count = 0

  /** How many trit tensors back the same scales stand; 0 when they are new and were stored. */
  add(name: string, { rows, cols, scales: { axis, values } }: QuantizedTensor): number {
    const due = axis === 'tensor' ? 1 : axis === 'row' ? rows : cols
    if (values.length !== due) throw new Error(`${name}: ${values.length} scales on axis ${axis}, expected ${due}`)
    for (const value of values)
      if (!(value >= 0 && value < Number.POSITIVE_INFINITY) || Object.is(value, -0))
        throw new Error(`${name}: a scale of ${value}`)
    // Row scales may serve as column scales (a LoRA pair's ranks), but one f32 is no bf16.
    const key = `${axis === 'tensor'} ${values.join(' ')}`
    const index = this.#count++
    const before = this.#last.get(key)
    this.#last.set(key, index)
    if (before !== undefined) return index - before
    this.stored.push({ axis, values })
    return 0
  }
}
