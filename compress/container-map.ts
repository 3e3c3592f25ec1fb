/**
 * Where everything in a container lies: table, scales and frame plan put together, every claim checked against every
 * other before a byte of the payload is read. FORMAT.md, "Payload".
 */
import type { TensorInfo } from '../tensors/tensor.ts'
import { FRAME_CELLS, type FrameSlice, planFrames } from './codecs/frames.ts'
import type { TritShape } from './container-frames.ts'
import { invalid, MAX_LOSSLESS_TENSOR_BYTES } from './container-layout.ts'
import { type ScalesShape, scalesBytes } from './container-scales.ts'
import { type ContainerTable, type TableTensor, tensorBytes } from './container-table.ts'
import { chunkCount, chunkLength } from './lossless.ts'
import { MAX_ENTRIES, type Scales } from './quantized-tensor.ts'

/** Stored bytes [start, end) of the file and the CRC-32 they must have. */
export interface StoredSpan {
  readonly start: number
  readonly end: number
  readonly crc: number
}

export interface FrameSpan extends StoredSpan {
  readonly slices: readonly FrameSlice[]
}

export interface TritTensor extends TritShape {
  readonly axis: Scales['axis']
  /** 0, or n when its scales are those of the n-th trit tensor before it. */
  readonly sameScales: number
  /** Frames of the first layer that hold its entries; `last` < `first` for a tensor without entries. */
  first: number
  last: number
}

export interface LosslessTensor extends Pick<TensorInfo, 'name' | 'dtype' | 'shape'> {
  readonly bytes: number
  readonly referenceCrc: number | null
  readonly chunks: readonly StoredSpan[]
}

export interface ContainerMap {
  readonly trits: readonly TritTensor[]
  /** What a trit of each layer is worth, in scales. */
  readonly layers: readonly number[]
  /** Layer by layer; all layers are cut into frames alike. */
  readonly frames: readonly FrameSpan[]
  readonly framesPerLayer: number
  readonly lossless: readonly LosslessTensor[]
}

/** The matrix that a trit tensor is seen as: cols = last dimension, rows = product of the others. */
export function matrixOf(shape: readonly number[]): { rows: number; cols: number } {
  const cols = shape.at(-1) ?? 1
  return { rows: shape.slice(0, -1).reduce((product, dimension) => product * dimension, 1), cols }
}

/** @throws CompressError CONTAINER_INVALID */
export function mapContainer(table: ContainerTable, payloadStart: number, payload: number): ContainerMap {
  checkLengths(table, payload)
  const trits = table.tensors.filter(({ storage }) => storage !== 'lossless').map(tritTensor)
  const lossless = table.tensors.filter(({ storage }) => storage === 'lossless')
  const { layers } = table
  const plan = planChecked(trits, table.frames.length, layers.length)
  const spans = storedSpans(table, payloadStart, plan.length)
  const frames = spans.frames.map((span, i) => ({ ...span, slices: plan[i % plan.length]! }))
  plan.forEach((slices, frame) => {
    for (const { tensor, start } of slices) {
      const trit = trits[tensor]!
      if (start === 0) trit.first = frame
      trit.last = frame
    }
  })
  return { trits, layers, frames, framesPerLayer: plan.length, lossless: placeChunks(lossless, spans.chunks) }
}

function tritTensor({ name, shape, storage, sameScales }: TableTensor): TritTensor {
  const { rows, cols } = matrixOf(shape)
  if (rows > MAX_ENTRIES || cols > MAX_ENTRIES || rows * cols > MAX_ENTRIES)
    throw invalid(`tensor ${name} has more than ${MAX_ENTRIES} trits`, { tensor: name, shape })
  return { name, rows, cols, axis: storage as Scales['axis'], sameScales, first: 0, last: -1 }
}

/** The plan is made only once it is known to be no larger than the column of frame lengths that the file paid for. */
function planChecked(trits: readonly TritShape[], frames: number, layers: number): FrameSlice[][] {
  const cells = layers * trits.reduce((sum, { rows, cols }) => sum + rows * cols, 0)
  const plan = cells > frames * FRAME_CELLS ? undefined : planFrames(trits)
  if (plan === undefined || plan.length * layers !== frames)
    throw invalid(
      `${frames} trit frames for tensors that take ${plan ? plan.length * layers : `at least ${Math.ceil(cells / FRAME_CELLS)}`}`,
    )
  return plan
}

/** What the lengths must be whatever the plan is: checked first, as they bound what the plan may cost. */
function checkLengths({ frames, chunks, crcs }: ContainerTable, payload: number): void {
  if (crcs.length !== frames.length + chunks.length)
    throw invalid(`${crcs.length} checksums for ${frames.length + chunks.length} frames and chunks`)
  // No codec has a frame of no bytes; frames that cost nothing would let a kilobyte of zeros claim millions of them.
  const empty = frames.indexOf(0)
  if (empty >= 0) throw invalid(`trit frame ${empty} has no bytes`)
  const total = [...frames, ...chunks].reduce((sum, length) => sum + length, 0)
  if (total !== payload) throw invalid(`frames and chunks make ${total} bytes, the payload has ${payload}`)
}

interface StoredSpans {
  readonly frames: readonly StoredSpan[]
  readonly chunks: readonly StoredSpan[]
}

/** The payload is: the frames of the first layer, the chunks, the frames of the other layers. */
function storedSpans(
  { frames, chunks, crcs }: ContainerTable,
  payloadStart: number,
  framesPerLayer: number,
): StoredSpans {
  let end = payloadStart
  const place = (lengths: readonly number[], firstCrc: number) =>
    lengths.map((length, i): StoredSpan => {
      const start = end
      end += length
      return { start, end, crc: crcs[firstCrc + i]! }
    })
  const first = place(frames.slice(0, framesPerLayer), 0)
  const placedChunks = place(chunks, frames.length)
  const finer = place(frames.slice(framesPerLayer), framesPerLayer)
  return { frames: [...first, ...finer], chunks: placedChunks }
}

function placeChunks(tensors: readonly TableTensor[], spans: readonly StoredSpan[]): LosslessTensor[] {
  const sizes = tensors.map(losslessBytes)
  const due = sizes.reduce((sum, bytes) => sum + chunkCount(bytes), 0)
  if (due !== spans.length) throw invalid(`${spans.length} lossless chunks for tensors that take ${due}`)
  let next = 0
  return tensors.map(({ name, dtype, shape, referenceCrc }, i) => {
    const bytes = sizes[i]!
    const chunks = spans.slice(next, next + chunkCount(bytes))
    chunks.forEach(({ start, end }, chunk) => {
      if (end === start || end - start > chunkLength(bytes, chunk))
        throw invalid(`chunk ${chunk} of ${name} has ${end - start} bytes for ${chunkLength(bytes, chunk)}`)
    })
    next += chunks.length
    return { name, dtype, shape, bytes, referenceCrc, chunks }
  })
}

function losslessBytes(tensor: TableTensor): number {
  const bytes = tensorBytes(tensor)
  if (bytes > MAX_LOSSLESS_TENSOR_BYTES)
    throw invalid(`tensor ${tensor.name} has ${bytes} bytes; the most is ${MAX_LOSSLESS_TENSOR_BYTES}`)
  return bytes
}

/** For each trit tensor, which stored scales it has: an index into `stored`. */
export interface ScalesPlan {
  readonly stored: readonly ScalesShape[]
  readonly source: readonly number[]
}

/** @throws CompressError CONTAINER_INVALID: scales borrowed from nowhere or of another length, or a block of other size */
export function planScales(trits: readonly TritTensor[], rawBytes: number): ScalesPlan {
  const stored: ScalesShape[] = []
  const source: number[] = []
  for (const [i, { name, axis, sameScales, rows, cols }] of trits.entries()) {
    const count = axis === 'tensor' ? 1 : axis === 'row' ? rows : cols
    if (sameScales > i) throw invalid(`tensor ${name} has the scales of a tensor before the first`)
    const from = sameScales === 0 ? stored.push({ axis, count }) - 1 : source[i - sameScales]!
    const lender = stored[from]!
    if (lender.count !== count || (lender.axis === 'tensor') !== (axis === 'tensor'))
      throw invalid(`tensor ${name} needs ${count} scales and is given the ${lender.count} of another`)
    source.push(from)
  }
  const bytes = scalesBytes(stored)
  if (bytes !== rawBytes) throw invalid(`the tensors take ${bytes} bytes of scales, the block has ${rawBytes}`)
  return { stored, source }
}
