/**
 * An open container as ordinary tensors: the expert's weights, or its task vector. Tensors are decoded when they are
 * asked for, so memory is bounded by the largest one. ALGORITHM.md, "Reconstruction".
 */
import { type Dtype, fromF32, isFloating, toF32 } from '../tensors/dtype.ts'
import { TensorError } from '../tensors/errors.ts'
import { elementCount, type TensorInfo, type TensorSource } from '../tensors/tensor.ts'
import {
  type AddTarget,
  interleave,
  type TritTarget,
  type ValueDtype,
  type Values,
  type WriteTarget,
} from './codecs/trit-values.ts'
import type { Container, ContainerTensor } from './container-reader.ts'
import { CompressError } from './errors.ts'
import { kernels as defaultKernels } from './kernels/default.ts'
import type { Kernels } from './kernels/kernels.ts'
import type { Scales } from './quantized-tensor.ts'

export interface ReconstructOptions {
  /** The model that the expert was made from, its identity checked by the caller. */
  readonly base?: TensorSource
  /** Dtype of all floating tensors; without it each has its own. One of F64, F32, F16, BF16. */
  readonly dtype?: Dtype
  /** Factor on every scale (default 1), rounded with it to f32. */
  readonly gain?: number
  readonly kernels?: Kernels
}

export type TaskVectorOptions = Omit<ReconstructOptions, 'dtype'>

/**
 * The expert's weights: origin + sign * f32(scale * gain) in f32, rounded once to the output dtype; lossless tensors as
 * they were. Reading throws as Container does, BASE_REQUIRED without a base that is needed, BASE_MISMATCH where it has
 * no such tensor.
 */
export function reconstructedSource(container: Container, options: ReconstructOptions = {}): TensorSource {
  const { dtype } = options
  if (dtype !== undefined && !isFloating(dtype))
    throw new TensorError(
      'DTYPE_UNSUPPORTED',
      `weights are not reconstructed as ${dtype}; F64, F32, F16 and BF16 are`,
      {
        dtype,
      },
    )
  return new ReconstructedWeights(new Expert(container, options), dtype)
}

/**
 * The task vector: sign * f32(scale * gain) for trits, and for lossless tensors their value less the base's (the value
 * itself where the base has no such tensor). All F32.
 */
export function taskVectorSource(container: Container, options: TaskVectorOptions = {}): TensorSource {
  return new TaskVector(new Expert(container, options))
}

class ReconstructedWeights implements TensorSource {
  readonly tensors: readonly TensorInfo[]
  readonly metadata: Readonly<Record<string, string>>
  readonly #expert: Expert
  readonly #targets: ReadonlyMap<string, TensorInfo>

  constructor(expert: Expert, dtype: Dtype | undefined) {
    this.#expert = expert
    this.tensors = expert.container.tensors.map((info) => ({
      name: info.name,
      dtype: dtype !== undefined && isFloating(info.dtype) ? dtype : info.dtype,
      shape: info.shape,
    }))
    this.metadata = expert.container.header.metadata
    this.#targets = new Map(this.tensors.map((info) => [info.name, info]))
  }

  async read(name: string, signal?: AbortSignal): Promise<Float32Array> {
    const { dtype } = this.#target(name)
    const stored = this.#expert.info(name)
    // What a reader of the file would see: the values after their rounding to the output dtype.
    if (stored.storage === 'lossless' || dtype !== 'F32') return toF32(await this.readBytes(name, signal), dtype)
    return this.#expert.weights(stored, signal)
  }

  async readBytes(name: string, signal?: AbortSignal): Promise<Uint8Array> {
    const { dtype } = this.#target(name)
    const stored = this.#expert.info(name)
    if (stored.storage === 'trits') return this.#expert.encodedWeights(stored, dtype, signal)
    const bytes = await this.#expert.lossless(stored, signal)
    return dtype === stored.dtype ? bytes : this.#expert.encode(toF32(bytes, stored.dtype), dtype)
  }

  async *streamBytes(name: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const stored = this.#expert.info(name)
    const pieces =
      stored.storage === 'trits' ? this.#expert.pieces(stored, this.#target(name).dtype, signal) : undefined
    if (pieces === undefined) yield await this.readBytes(name, signal)
    else for await (const { out } of pieces) yield new Uint8Array(out.buffer, out.byteOffset, out.byteLength)
  }

  #target(name: string): TensorInfo {
    return found(this.#targets.get(name), name)
  }
}

class TaskVector implements TensorSource {
  readonly tensors: readonly TensorInfo[]
  readonly metadata: Readonly<Record<string, string>>
  readonly #expert: Expert

  constructor(expert: Expert) {
    this.#expert = expert
    this.tensors = expert.container.tensors.map(({ name, shape }) => ({ name, dtype: 'F32', shape }))
    this.metadata = expert.container.header.metadata
  }

  async read(name: string, signal?: AbortSignal): Promise<Float32Array> {
    const info = this.#expert.info(name)
    if (info.storage === 'lossless') return this.#expert.losslessDelta(info, signal)
    return this.#expert.delta(info, signal)
  }

  async readBytes(name: string, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#expert.encode(await this.read(name, signal), 'F32')
  }

  async addTo(name: string, acc: Float32Array, weight: number, signal?: AbortSignal): Promise<void> {
    const info = this.#expert.info(name)
    const entries = elementCount(info.shape)
    if (acc.length !== entries) throw new Error(`${acc.length} entries to add the ${entries} of ${name} to`)
    if (info.storage === 'trits') await this.#expert.add(info, acc, acc, weight, signal)
    else this.#expert.kernels.axpy(acc, await this.#expert.losslessDelta(info, signal), Math.fround(weight))
  }
}

function found<T>(info: T | undefined, name: string): T {
  if (info !== undefined) return info
  throw new TensorError('TENSOR_NOT_FOUND', `the expert has no tensor ${name}`, { tensor: name })
}

/** What both views share: a container, the base it stands on, and how trits become numbers. */
class Expert {
  readonly container: Container
  readonly kernels: Kernels
  readonly #base: TensorSource | undefined
  readonly #gain: number
  readonly #infos: ReadonlyMap<string, ContainerTensor>
  readonly #baseInfos: ReadonlyMap<string, TensorInfo>
  readonly #baseNames: ReadonlyMap<string, string>

  constructor(container: Container, { base, gain = 1, kernels = defaultKernels() }: TaskVectorOptions) {
    if (!Number.isFinite(gain))
      throw new CompressError('PARAMETER_INVALID', `gain ${gain} is not a finite number`, { parameter: 'gain' })
    this.container = container
    this.kernels = kernels
    this.#base = base
    this.#gain = gain
    this.#infos = new Map(container.tensors.map((info) => [info.name, info]))
    this.#baseInfos = new Map(base?.tensors.map((info) => [info.name, info]))
    const { baseNames = 'same' } = container.header
    this.#baseNames = new Map(baseNames === 'same' ? [] : Object.entries(baseNames))
  }

  info(name: string): ContainerTensor {
    return found(this.#infos.get(name), name)
  }

  /** Little-endian bytes in `dtype`, one rounding. The values are nobody else's: F32 shares their memory. */
  encode(values: Float32Array, dtype: Dtype): Uint8Array {
    if (dtype === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    if (dtype !== 'F16' && dtype !== 'BF16') return fromF32(values, dtype)
    const bits = new Uint16Array(values.length)
    this.kernels.narrow(values, dtype, bits)
    return new Uint8Array(bits.buffer)
  }

  /**
   * out = from + weight * tau, layer after layer: the scale times (worth times gain) is rounded to f32, times weight
   * again, then each sum.
   */
  async add(info: ContainerTensor, from: Float32Array, out: Float32Array, weight: number, signal?: AbortSignal) {
    for (const layer of this.container.layers.keys()) {
      const target = { ...this.#addition(info, 'F32', weight, layer), from: layer === 0 ? from : out, out }
      await this.container.decodeInto(info.name, target, signal, layer)
    }
  }

  #addition(info: ContainerTensor, dtype: ValueDtype, weight: number, layer = 0): Omit<AddTarget, 'from' | 'out'> {
    const { axis, values } = this.#scales(info, weight, layer)
    return { operation: 'add', dtype, axis, pairs: interleave(f32Bits(values), f32Bits(negated(values))) }
  }

  /** Their sums are made in f32, over the whole tensor. */
  get #isLayered(): boolean {
    return this.container.layers.length > 1
  }

  /** The weights as they are decoded, or undefined where layers or the base do not allow it to be done part by part. */
  pieces(info: ContainerTensor, dtype: Dtype, signal?: AbortSignal): AsyncIterable<TritTarget> | undefined {
    if (this.#isLayered || (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16')) return undefined
    const memory = (cells: number) => (dtype === 'F32' ? new Float32Array(cells) : new Uint16Array(cells))
    if (this.container.header.origin !== 'base') {
      const writing = this.#writing(info, this.#origin(), dtype)
      return this.container.decodeParts(info.name, (_, cells) => ({ ...writing, out: memory(cells) }), signal)
    }
    if (this.#base?.readRange === undefined || this.#baseInfo(info)?.dtype !== dtype) return undefined
    const adding = this.#addition(info, dtype, 1)
    const read = this.#baseReader(info, dtype, signal)
    const targetOf = async (start: number, cells: number) => {
      const from = await read(start, cells)
      return { ...adding, from, out: isWhole(from) ? from : memory(cells) }
    }
    return this.container.decodeParts(info.name, targetOf, signal)
  }

  /** Reads parts of a base tensor in order, each while the one before it is worked on. */
  #baseReader(info: ContainerTensor, dtype: ValueDtype, signal?: AbortSignal) {
    const size = dtype === 'F32' ? 4 : 2
    const entries = elementCount(info.shape)
    let ahead: { start: number; cells: number; bytes: Promise<Uint8Array> } | undefined
    const range = (start: number, cells: number) =>
      this.#fromBase(
        info,
        (base, name) => base.readRange?.(name, start * size, (start + cells) * size, signal) as Promise<Uint8Array>,
      )
    return async (start: number, cells: number): Promise<Values> => {
      const isAhead = ahead?.start === start && ahead.cells === cells
      const bytes = await (isAhead ? ahead?.bytes : range(start, cells))
      const next = { start: start + cells, cells: Math.min(cells, entries - start - cells) }
      ahead = next.cells > 0 ? { ...next, bytes: range(next.start, next.cells) } : undefined
      // Awaited when its turn comes, which may be never.
      ahead?.bytes.catch(() => {})
      return valuesIn(bytes as Uint8Array, dtype)
    }
  }

  async delta(info: ContainerTensor, signal?: AbortSignal): Promise<Float32Array> {
    const out = new Float32Array(elementCount(info.shape))
    if (this.#isLayered) await this.add(info, out, out, 1, signal)
    else await this.#write(info, 0, 'F32', out, signal)
    return out
  }

  /** In f32. */
  async weights(info: ContainerTensor, signal?: AbortSignal): Promise<Float32Array> {
    const out = new Float32Array(elementCount(info.shape))
    const { origin } = this.container.header
    if (origin !== 'base' && this.#isLayered) await this.add(info, out.fill(this.#origin()), out, 1, signal)
    else if (origin !== 'base') await this.#write(info, this.#origin(), 'F32', out, signal)
    else await this.add(info, await this.#fromBase(info, (base, name) => base.read(name, signal)), out, 1, signal)
    return out
  }

  async encodedWeights(info: ContainerTensor, dtype: Dtype, signal?: AbortSignal): Promise<Uint8Array> {
    if (this.#isLayered || (dtype !== 'F16' && dtype !== 'BF16'))
      return this.encode(await this.weights(info, signal), dtype)
    const isFromBase = this.container.header.origin === 'base'
    if (isFromBase && this.#baseInfo(info)?.dtype !== dtype) return this.encode(await this.weights(info, signal), dtype)
    const out = new Uint16Array(elementCount(info.shape))
    if (isFromBase) await this.#addToBase(info, dtype, out, signal)
    else await this.#write(info, this.#origin(), dtype, out, signal)
    return new Uint8Array(out.buffer)
  }

  /** Frame by frame in the base's own dtype, so that the f32 values of the whole tensor are never in memory. */
  async #addToBase(info: ContainerTensor, dtype: 'F16' | 'BF16', out: Uint16Array, signal?: AbortSignal) {
    const bytes = await this.#fromBase(info, (base, name) => base.readBytes(name, signal))
    const target = { ...this.#addition(info, dtype, 1), from: valuesIn(bytes, dtype), out }
    await this.container.decodeInto(info.name, target, signal)
  }

  /** out = origin + tau, one rounding. */
  async #write(info: ContainerTensor, origin: number, dtype: ValueDtype, out: Values, signal?: AbortSignal) {
    await this.container.decodeInto(info.name, { ...this.#writing(info, origin, dtype), out }, signal)
  }

  #writing(info: ContainerTensor, origin: number, dtype: ValueDtype): Omit<WriteTarget, 'out'> {
    const { axis, values } = this.#scales(info, 1)
    const plus = this.#patterns(
      values.map((scale) => origin + scale),
      dtype,
    )
    const minus = this.#patterns(
      values.map((scale) => origin - scale),
      dtype,
    )
    const zero = this.#patterns(Float32Array.of(origin), dtype)[0] as number
    return { operation: 'write', dtype, axis, pairs: interleave(plus, minus), zero }
  }

  #scales(info: ContainerTensor, weight: number, layer = 0): Scales {
    const { axis, values } = this.container.tritScales(info.name)
    const worth = this.container.layers[layer] as number
    return { axis, values: scaledBy(scaledBy(values, worth * this.#gain), Math.fround(weight)) }
  }

  /** Of a container whose origin is not the base. */
  #origin(): number {
    return this.container.header.origin === 'one' ? 1 : 0
  }

  #patterns(values: Float32Array, dtype: ValueDtype): Uint32Array | Uint16Array {
    if (dtype === 'F32') return f32Bits(values)
    const codes = new Uint16Array(values.length)
    this.kernels.narrow(values, dtype, codes)
    return codes
  }

  async lossless(info: ContainerTensor, signal?: AbortSignal): Promise<Uint8Array> {
    const { container } = this
    if (!container.needsReference(info.name)) return container.readLossless(info.name, undefined, signal)
    const reference = await this.#fromBase(info, (base, name) => base.readBytes(name, signal))
    return container.readLossless(info.name, reference, signal)
  }

  async losslessDelta(info: ContainerTensor, signal?: AbortSignal): Promise<Float32Array> {
    const values = toF32(await this.lossless(info, signal), info.dtype)
    if (this.#base === undefined && this.container.header.origin !== 'base') return values
    const base = this.#requireBase(info)
    if (this.#baseInfo(info) === undefined) return values
    this.kernels.subtract(values, await this.#fromBase(info, () => base.read(this.#baseName(info), signal)))
    return values
  }

  /** A tensor of the base, once it is known to be there in the same shape. */
  async #fromBase<T>(info: TensorInfo, read: (base: TensorSource, name: string) => Promise<T>): Promise<T> {
    const base = this.#requireBase(info)
    const there = this.#baseInfo(info)
    if (there !== undefined && there.shape.join() === info.shape.join()) return read(base, there.name)
    const found = there === undefined ? 'has no tensor' : `has the shape [${there.shape.join(', ')}] for`
    throw new CompressError(
      'BASE_MISMATCH',
      `the base ${found} ${this.#baseName(info)}; the expert's ${info.name} is [${info.shape.join(', ')}]`,
      { tensor: info.name, baseTensor: this.#baseName(info), shape: info.shape, baseShape: there?.shape },
    )
  }

  #requireBase(info: TensorInfo): TensorSource {
    if (this.#base !== undefined) return this.#base
    const base = this.container.header.base
    throw new CompressError(
      'BASE_REQUIRED',
      `tensor ${info.name} is relative to the base ${base?.repo ?? base?.digest}`,
      {
        tensor: info.name,
        base,
      },
    )
  }

  #baseName({ name }: TensorInfo): string {
    return this.#baseNames.get(name) ?? name
  }

  #baseInfo(info: TensorInfo): TensorInfo | undefined {
    return this.#baseInfos.get(this.#baseName(info))
  }
}

/** Each value times `factor`, rounded to f32. */
function scaledBy(values: Float32Array, factor: number): Float32Array {
  return factor === 1 ? values : values.map((value) => value * factor)
}

function negated(values: Float32Array): Float32Array {
  return values.map((value) => -value)
}

function f32Bits(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length)
}

/** True where the values fill their buffer: a range of a file comes so, and can be written over. A view cannot. */
function isWhole({ byteLength, buffer }: Values): boolean {
  return byteLength === buffer.byteLength
}

/** The values that `bytes` are, copied only where they are not aligned. */
function valuesIn(bytes: Uint8Array, dtype: ValueDtype): Values {
  const size = dtype === 'F32' ? 4 : 2
  const { buffer, byteOffset, length } = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes)
  return dtype === 'F32'
    ? new Float32Array(buffer, byteOffset, length / size)
    : new Uint16Array(buffer, byteOffset, length / size)
}
