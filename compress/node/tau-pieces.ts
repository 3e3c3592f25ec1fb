/** A tensor of tau in pieces, straight from its files, through buffers that are used again. */
import { dtypeBytes } from '../../tensors/dtype.ts'
import { type FileSource, openFileSource } from '../../tensors/node/file-source.ts'
import { elementCount } from '../../tensors/tensor.ts'
import type { TensorLocation } from '../../tensors/tensor-location.ts'
import type { TauPiece } from '../kernels/tau-kernels.ts'
import type { TauTensor } from '../task-vector.ts'

/** Entries of a piece: enough to make the tables of a histogram cheap beside it. */
const PIECE_ENTRIES = 2 ** 20
/** A sample: this many places, evenly spread, of this many entries. */
const SAMPLE_PLACES = 128
const SAMPLE_ENTRIES = 512

/** Opened files of one tensor of tau. */
export class TauPieces {
  readonly entries: number
  readonly #tensor: TauTensor
  readonly #value: LocatedBytes
  readonly #origin: LocatedBytes | undefined

  /** For openTauPieces. */
  constructor(tensor: TauTensor, value: LocatedBytes, origin: LocatedBytes | undefined) {
    this.entries = elementCount(tensor.location.shape)
    this.#tensor = tensor
    this.#value = value
    this.#origin = origin
  }

  /** All entries in order. A piece's memory is used again for the next. */
  async *all(signal?: AbortSignal): AsyncGenerator<TauPiece> {
    for (let first = 0; first < this.entries; first += PIECE_ENTRIES)
      yield await this.#piece(first, Math.min(PIECE_ENTRIES, this.entries - first), signal)
  }

  /** Pieces from all over the tensor, or undefined for one too small to be worth it. */
  sample(signal?: AbortSignal): AsyncGenerator<TauPiece> | undefined {
    return this.entries < 8 * SAMPLE_PLACES * SAMPLE_ENTRIES ? undefined : this.#sampled(signal)
  }

  async *#sampled(signal?: AbortSignal): AsyncGenerator<TauPiece> {
    for (let place = 0; place < SAMPLE_PLACES; place++) {
      const first = Math.floor(((this.entries - SAMPLE_ENTRIES) * place) / (SAMPLE_PLACES - 1) / 4) * 4
      yield await this.#piece(first, SAMPLE_ENTRIES, signal)
    }
  }

  async #piece(first: number, entries: number, signal?: AbortSignal): Promise<TauPiece> {
    const values = await this.#value.read(first, entries, signal)
    const { location, origin } = this.#tensor
    return {
      first,
      values,
      dtype: location.dtype,
      origin:
        typeof origin === 'number'
          ? origin
          : { values: await (this.#origin as LocatedBytes).read(first, entries, signal), dtype: origin.dtype },
    }
  }

  async close(): Promise<void> {
    await this.#value.file.close()
    await this.#origin?.file.close()
  }
}

/** Throws WEIGHTS_NOT_FOUND. The caller closes it. */
export async function openTauPieces(tensor: TauTensor): Promise<TauPieces> {
  const value = new LocatedBytes(tensor.location, await openFileSource(tensor.location.path))
  try {
    const { origin } = tensor
    if (typeof origin === 'number') return new TauPieces(tensor, value, undefined)
    return new TauPieces(tensor, value, new LocatedBytes(origin, await openFileSource(origin.path)))
  } catch (error) {
    await value.file.close()
    throw error
  }
}

/** Part of a file, and the buffer it is read into. */
class LocatedBytes {
  readonly file: FileSource
  readonly #location: TensorLocation
  #buffer = new Uint8Array(0)

  constructor(location: TensorLocation, file: FileSource) {
    this.#location = location
    this.file = file
  }

  async read(first: number, entries: number, signal?: AbortSignal): Promise<Uint8Array> {
    const size = dtypeBytes(this.#location.dtype)
    if (this.#buffer.length < entries * size) this.#buffer = new Uint8Array(entries * size)
    const bytes = this.#buffer.subarray(0, entries * size)
    await this.file.readInto(bytes, this.#location.start + first * size, signal)
    return bytes
  }
}
