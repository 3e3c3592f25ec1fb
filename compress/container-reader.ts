/**
 * Reads a container: header, table and scales when it is opened, a tensor's frames or chunks when it is asked for. The
 * limits that bound what a file may claim stand at the top of container-layout.ts; what the parts claim of each other is
 * compared in container-map.ts before a byte of the payload is read. FORMAT.md.
 */
import type { ByteSource } from '../tensors/byte-source.ts'
import { dtypeBytes } from '../tensors/dtype.ts'
import { TensorError } from '../tensors/errors.ts'
import type { TensorInfo } from '../tensors/tensor.ts'
import { crc32 } from './bytes/crc32.ts'
import { decompress } from './bytes/zstd.ts'
import { codecById } from './codecs/codec-table.ts'
import type { FrameSlice } from './codecs/frames.ts'
import type { TritCodec } from './codecs/trit-codec.ts'
import { applyTrits, partOfTarget, type TritTarget } from './codecs/trit-values.ts'
import { type DecodedFrame, decodeStoredFrame, frameName, inFrame, readSides } from './container-frames.ts'
import { checkHeaderDigest, HEADER_BYTES, readFixedHeader } from './container-layout.ts'
import { allocate, checkReference } from './container-lossless.ts'
import { type ContainerMap, type LosslessTensor, mapContainer, planScales, type StoredSpan } from './container-map.ts'
import { decodeScales } from './container-scales.ts'
import { type ContainerHeader, decodeTable } from './container-table.ts'
import type { PartBytes } from './container-writer.ts'
import { CompressError } from './errors.ts'
import { CHUNK_BYTES, chunkLength, unpackChunk } from './lossless.ts'
import type { QuantizedTensor, Scales } from './quantized-tensor.ts'

/** First read: the header and, nearly always, table and scales with it. */
const FIRST_READ_BYTES = 2 ** 16
/** Frames decoded before other work gets a turn: some milliseconds. */
const FRAMES_PER_TURN = 16

export type ContainerTensor = TensorInfo & { readonly storage: 'trits' | 'lossless' }

/**
 * Opens a container, checking all of it but the payload. The source stays the caller's to close.
 * @throws CompressError CONTAINER_INVALID, CONTAINER_VERSION_UNSUPPORTED, CODEC_UNKNOWN, CHECKSUM_MISMATCH
 */
export async function openContainer(source: ByteSource, signal?: AbortSignal): Promise<Container> {
  const first = await source.read(0, Math.min(source.size, FIRST_READ_BYTES), signal)
  const fixed = readFixedHeader(first, source.size)
  const payloadStart = HEADER_BYTES + fixed.tableStored + fixed.scalesStored
  const head = payloadStart <= first.length ? first : await source.read(0, payloadStart, signal)
  const storedTable = head.subarray(HEADER_BYTES, HEADER_BYTES + fixed.tableStored)
  const storedScales = head.subarray(HEADER_BYTES + fixed.tableStored, payloadStart)
  await checkHeaderDigest(head, storedTable, storedScales)
  const table = decodeTable(await decompress(storedTable, fixed.tableRaw, 'container: table'))
  const codec = codecById(table.codec)
  const map = mapContainer(table, payloadStart, fixed.payload)
  const plan = planScales(map.trits, fixed.scalesRaw)
  const values = decodeScales(await decompress(storedScales, fixed.scalesRaw, 'container: scales'), plan.stored)
  return new Container(source, codec, map, {
    header: table.header,
    tensors: table.tensors.map(({ name, dtype, shape, storage }) => ({
      name,
      dtype,
      shape,
      storage: storage === 'lossless' ? 'lossless' : 'trits',
    })),
    scales: plan.source.map((index) => values[index]!),
    bytes: {
      table: fixed.tableStored,
      scales: fixed.scalesStored,
      trits: table.frames.reduce((sum, length) => sum + length, 0),
      lossless: table.chunks.reduce((sum, length) => sum + length, 0),
    },
  })
}

interface Contents {
  readonly header: ContainerHeader
  readonly tensors: readonly ContainerTensor[]
  /** Per trit tensor. */
  readonly scales: readonly Float32Array[]
  readonly bytes: PartBytes
}

/** The entries [start, start + cells) of a tensor. */
export interface TritSlice {
  readonly start: number
  readonly cells: number
  /** Ascending, relative to `start`; SIGN_BIT for -1. Shared memory: not to be changed. */
  readonly positions: Uint32Array
}

interface StoredFrame {
  readonly frame: number
  readonly stored: Uint8Array
  readonly slice: number
  /** Where it was decoded before and is still at hand. */
  readonly held: DecodedFrame | undefined
}

/** Of a part whose positions are known already. */
const NO_SIDE = new Uint8Array(0)

/**
 * An open container. Holds the last frame that was decoded: small tensors share frames, and in table order each frame
 * is decoded once. Methods may run beside each other.
 */
export class Container {
  readonly header: ContainerHeader
  /** What a trit of each layer is worth, in scales; [1] for plain trits. */
  readonly layers: readonly number[]
  /** Name of the trit codec. */
  readonly codec: TritCodec['name']
  readonly tensors: readonly ContainerTensor[]
  /** Stored bytes of the parts. */
  readonly bytes: PartBytes
  readonly #source: ByteSource
  readonly #codec: TritCodec
  readonly #map: ContainerMap
  readonly #scales: readonly Float32Array[]
  readonly #tritIndex: ReadonlyMap<string, number>
  readonly #lossless: ReadonlyMap<string, LosslessTensor>
  /** Per layer. */
  readonly #lastFrames: ({ readonly frame: number; readonly decoded: DecodedFrame } | undefined)[] = []
  /** Side information of a tensor that goes on in later frames. */
  #lastSide: { readonly tensor: number; readonly layer: number; readonly side: Uint8Array } | undefined

  /** For openContainer. */
  constructor(source: ByteSource, codec: TritCodec, map: ContainerMap, contents: Contents) {
    this.header = contents.header
    this.layers = map.layers
    this.codec = codec.name
    this.tensors = contents.tensors
    this.bytes = contents.bytes
    this.#source = source
    this.#codec = codec
    this.#map = map
    this.#scales = contents.scales
    this.#tritIndex = new Map(map.trits.map(({ name }, i) => [name, i]))
    this.#lossless = new Map(map.lossless.map((tensor) => [tensor.name, tensor]))
  }

  /** A whole trit tensor, in memory of its own. @throws as tritSlices */
  async readTrits(name: string, signal?: AbortSignal): Promise<QuantizedTensor> {
    const { rows, cols } = this.#map.trits[this.#trit(name)]!
    const layers: Uint32Array[] = []
    for (const layer of this.layers.keys()) {
      const slices: TritSlice[] = []
      for await (const slice of this.tritSlices(name, signal, layer)) slices.push(slice)
      layers.push(concatenate(slices))
    }
    const [positions, ...finer] = layers as [Uint32Array, ...Uint32Array[]]
    return { rows, cols, positions, ...(finer.length > 0 ? { finer } : {}), scales: this.tritScales(name) }
  }

  /** Of a trit that is worth 1. @throws TensorError TENSOR_NOT_FOUND */
  tritScales(name: string): Scales {
    const index = this.#trit(name)
    return { axis: this.#map.trits[index]!.axis, values: this.#scales[index]! }
  }

  /**
   * A layer of a trit tensor frame by frame, in order: what lies in one frame fits a processor's cache. One read of the
   * source. All layers have the same slices.
   * @throws CompressError CHECKSUM_MISMATCH, CONTAINER_INVALID; TensorError TENSOR_NOT_FOUND for no trit tensor
   */
  async *tritSlices(name: string, signal?: AbortSignal, layer = 0): AsyncGenerator<TritSlice> {
    for await (const { frame, stored, held, slice } of this.#storedFrames(name, layer, signal)) {
      const { positions } = held ?? (await this.#frame(frame, stored, signal))
      const { start, cells } = this.#map.frames[frame]!.slices[slice]!
      yield { start, cells, positions: positions[slice]! }
    }
  }

  /**
   * Decodes a layer of a trit tensor to numbers; `target` is the whole tensor.
   * @throws as tritSlices; some may be written then
   */
  async decodeInto(name: string, target: TritTarget, signal?: AbortSignal, layer = 0): Promise<void> {
    const { rows, cols } = this.#map.trits[this.#trit(name)]!
    if (target.out.length !== rows * cols) throw new Error(`${target.out.length} values for ${rows * cols} trits`)
    const targetOf = (start: number, cells: number) => partOfTarget(target, start, cells)
    for await (const _ of this.decodeParts(name, targetOf, signal, layer));
  }

  /**
   * The same part by part, in order: asks where each is to go and gives that back, filled. What lies in frames of its
   * own never becomes a list of positions.
   */
  async *decodeParts(
    name: string,
    targetOf: (start: number, cells: number) => TritTarget | Promise<TritTarget>,
    signal?: AbortSignal,
    layer = 0,
  ): AsyncGenerator<TritTarget> {
    const { rows, cols } = this.#map.trits[this.#trit(name)]!
    for await (const { frame, stored, held, slice } of this.#storedFrames(name, layer, signal)) {
      const { slices } = this.#map.frames[frame]!
      const { start, cells } = slices[slice]!
      const part = await targetOf(start, cells)
      const isDirect = held === undefined && slices.length === 1
      if (!isDirect || !(await this.#frameInto(frame, stored, part, signal))) {
        const { positions } = held ?? (await this.#frame(frame, stored, signal))
        applyTrits(positions[slice]!, { rows, cols, start, cells, side: NO_SIDE }, part)
      }
      yield part
    }
  }

  /** The stored frames of a layer of a trit tensor, in order, one read for all; `slice`: its place in the frame. */
  async *#storedFrames(name: string, layer: number, signal?: AbortSignal): AsyncGenerator<StoredFrame> {
    const index = this.#trit(name)
    const before = layer * this.#map.framesPerLayer
    const first = this.#map.trits[index]!.first + before
    const last = this.#map.trits[index]!.last + before
    const held = this.#lastFrames[layer]
    const from = held?.frame === first ? first + 1 : first
    const bytes = await this.#readSpan(this.#map.frames.slice(from, last + 1), signal)
    let offset = 0
    for (let frame = first; frame <= last; frame++) {
      if ((frame - first) % FRAMES_PER_TURN === FRAMES_PER_TURN - 1) await nextTurn(signal)
      const { start, end, slices } = this.#map.frames[frame]!
      const stored = bytes.subarray(offset, offset + end - start)
      if (frame >= from) offset += stored.length
      const slice = sliceOf(slices, index)
      yield { frame, stored, slice, held: frame < from ? held!.decoded : undefined }
    }
  }

  /** True where readLossless needs the base's tensor; never for trits. */
  needsReference(name: string): boolean {
    if (this.#tritIndex.has(name)) return false
    return this.#losslessTensor(name).referenceCrc !== null
  }

  /**
   * A lossless tensor's bytes as they were, little-endian in its dtype. `reference`: the base tensor's bytes; ignored
   * where it is not needed.
   * @throws CompressError CHECKSUM_MISMATCH, CONTAINER_INVALID, BASE_REQUIRED, BASE_MISMATCH; TensorError TENSOR_NOT_FOUND
   */
  async readLossless(name: string, reference?: Uint8Array, signal?: AbortSignal): Promise<Uint8Array> {
    const tensor = this.#losslessTensor(name)
    const used = checkReference(tensor, reference)
    const out = allocate(tensor)
    await this.#unpack(tensor, used, signal, (raw, offset) => out.set(raw, offset))
    return out
  }

  /** Reads, checks and decodes everything, keeping nothing. @throws as readTrits and readLossless do */
  async verify(signal?: AbortSignal): Promise<void> {
    for (const [frame, { start, end }] of this.#map.frames.entries()) {
      if (frame % FRAMES_PER_TURN === 0) await nextTurn(signal)
      await this.#frame(frame, await this.#source.read(start, end, signal), signal)
    }
    // Without its reference a chunk unpacks to the difference, which is all that the file itself can vouch for.
    for (const tensor of this.#map.lossless) await this.#unpack(tensor, undefined, signal, () => {})
  }

  async #unpack(
    tensor: LosslessTensor,
    reference: Uint8Array | undefined,
    signal: AbortSignal | undefined,
    take: (raw: Uint8Array, offset: number) => void,
  ): Promise<void> {
    const bytes = await this.#readSpan(tensor.chunks, signal)
    const elementSize = dtypeBytes(tensor.dtype)
    let at = 0
    for (const [chunk, span] of tensor.chunks.entries()) {
      signal?.throwIfAborted()
      const what = `container: chunk ${chunk} of tensor ${tensor.name}`
      const stored = bytes.subarray(at, at + span.end - span.start)
      at += stored.length
      checkCrc(stored, span, what, { tensor: tensor.name, chunk })
      const rawLength = chunkLength(tensor.bytes, chunk)
      const offset = chunk * CHUNK_BYTES
      const range = reference?.subarray(offset, offset + rawLength)
      take(await unpackChunk(stored, rawLength, elementSize, what, range), offset)
    }
  }

  /** Decodes a frame that is one part straight to numbers; false where the codec cannot, and nothing was done. */
  async #frameInto(frame: number, bytes: Uint8Array, target: TritTarget, signal?: AbortSignal): Promise<boolean> {
    if (this.#codec.decodeInto === undefined) return false
    const span = this.#map.frames[frame]!
    const { tensor, start, cells } = span.slices[0]!
    const trits = this.#map.trits[tensor]!
    const names = frameName(frame, [trits])
    checkCrc(bytes, span, names, { frame })
    const layer = Math.floor(frame / this.#map.framesPerLayer)
    const earlier = start > 0 ? await this.#side(tensor, layer, signal) : undefined
    return inFrame(names, () => {
      const { sides, end } = readSides(this.#codec, bytes, span.slices, this.#map.trits)
      const side = earlier ?? sides[0]!
      const goesOn = trits.last > frame % this.#map.framesPerLayer
      if (earlier === undefined && goesOn) this.#lastSide = { tensor, layer, side }
      const part = { rows: trits.rows, cols: trits.cols, start, cells, side }
      return this.#codec.decodeInto!(bytes.subarray(end), part, target)
    })
  }

  /** Decodes a frame, or has it from memory. */
  async #frame(frame: number, bytes: Uint8Array, signal?: AbortSignal): Promise<DecodedFrame> {
    const layer = Math.floor(frame / this.#map.framesPerLayer)
    const held = this.#lastFrames[layer]
    if (held?.frame === frame) return held.decoded
    const span = this.#map.frames[frame]!
    const names = frameName(
      frame,
      span.slices.map(({ tensor }) => this.#map.trits[tensor]!),
    )
    checkCrc(bytes, span, names, { frame })
    const leading = span.slices[0]!
    const earlier = leading.start > 0 ? await this.#side(leading.tensor, layer, signal) : new Uint8Array(0)
    const decoded = inFrame(names, () =>
      decodeStoredFrame(this.#codec, bytes, span.slices, this.#map.trits, () => earlier),
    )
    const trailing = span.slices.at(-1)!
    const side = decoded.sides.at(-1)
    if (side !== undefined && this.#map.trits[trailing.tensor]!.last > frame % this.#map.framesPerLayer)
      this.#lastSide = { tensor: trailing.tensor, layer, side }
    this.#lastFrames[layer] = { frame, decoded }
    return decoded
  }

  /** Side information of a tensor that started in an earlier frame: from memory, or from that frame. */
  async #side(tensor: number, layer: number, signal?: AbortSignal): Promise<Uint8Array> {
    if (this.#lastSide?.tensor === tensor && this.#lastSide.layer === layer) return this.#lastSide.side
    const first = this.#map.trits[tensor]!.first + layer * this.#map.framesPerLayer
    const span = this.#map.frames[first]!
    const bytes = await this.#source.read(span.start, span.end, signal)
    const names = frameName(first, [this.#map.trits[tensor]!])
    checkCrc(bytes, span, names, { frame: first })
    const { sides } = inFrame(names, () => readSides(this.#codec, bytes, span.slices, this.#map.trits))
    // A tensor that goes on in later frames is the last of its first frame.
    const side = sides.at(-1)!
    this.#lastSide = { tensor, layer, side }
    return side
  }

  async #readSpan(spans: readonly StoredSpan[], signal?: AbortSignal): Promise<Uint8Array> {
    const first = spans[0]
    if (first === undefined) return new Uint8Array(0)
    return this.#source.read(first.start, spans.at(-1)!.end, signal)
  }

  #trit(name: string): number {
    const index = this.#tritIndex.get(name)
    if (index === undefined) throw this.#notFound(name, 'trits')
    return index
  }

  #losslessTensor(name: string): LosslessTensor {
    const tensor = this.#lossless.get(name)
    if (tensor === undefined) throw this.#notFound(name, 'lossless')
    return tensor
  }

  #notFound(name: string, storage: string): TensorError {
    return new TensorError('TENSOR_NOT_FOUND', `the container has no ${storage} tensor ${name}`, { tensor: name })
  }
}

/** Where a frame has its slice of a tensor. By halves: a frame may hold 2^18 tensors, each of which is asked for. */
function sliceOf(slices: readonly FrameSlice[], tensor: number): number {
  let low = 0
  let high = slices.length - 1
  while (low < high) {
    const middle = (low + high) >>> 1
    if (slices[middle]!.tensor < tensor) low = middle + 1
    else high = middle
  }
  return low
}

/** A turn of the event loop, so that a long tensor does not hold up everything else in this thread. */
async function nextTurn(signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve))
  signal?.throwIfAborted()
}

/** Positions within the tensor, in fresh memory: those of a piece may be the cached frame's own. */
function concatenate(pieces: readonly TritSlice[]): Uint32Array {
  const whole = new Uint32Array(pieces.reduce((sum, { positions }) => sum + positions.length, 0))
  let n = 0
  for (const { positions, start } of pieces)
    for (let i = 0; i < positions.length; i++) whole[n++] = positions[i]! + start
  return whole
}

function checkCrc(bytes: Uint8Array, span: StoredSpan, what: string, detail: Record<string, unknown>): void {
  if (crc32(bytes) === span.crc) return
  throw new CompressError('CHECKSUM_MISMATCH', `${what} does not match its checksum: the file is damaged`, detail)
}
