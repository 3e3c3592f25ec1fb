/** Writes one safetensors file as its tensors become ready, without knowing where the bytes go. */
import { serialiseHeader, tensorBytes } from './safetensors-header.ts'
import type { TensorInfo, TensorSink } from './tensor.ts'

/** Where bytes go, in order. The promise of `write` is the back-pressure. */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<void>
  /** After the last byte; resolves when they are all handed over. */
  end(): Promise<void>
}

/**
 * A TensorSink over a ByteSink. `begin` throws what `serialiseHeader` throws. Tensors out of order, of the wrong
 * length or missing at the end would leave a file whose header lies; they are bugs of the caller and throw a plain
 * Error.
 */
export class SafetensorsWriter implements TensorSink {
  private readonly sink: ByteSink
  private tensors: readonly TensorInfo[] | undefined
  private written = 0

  constructor(sink: ByteSink) {
    this.sink = sink
  }

  async begin(tensors: readonly TensorInfo[], metadata: Readonly<Record<string, string>>): Promise<void> {
    if (this.tensors) throw new Error('begin called twice')
    this.tensors = [...tensors]
    await this.sink.write(serialiseHeader(tensors, metadata))
  }

  async write(name: string, bytes: Uint8Array): Promise<void> {
    const next = this.tensors?.[this.written]
    if (next?.name !== name) throw new Error(`tensor ${name} written where ${next?.name ?? 'nothing'} was due`)
    const expected = tensorBytes(next)
    if (bytes.byteLength !== expected) {
      throw new Error(`tensor ${name} has ${bytes.byteLength} bytes, its header says ${expected}`)
    }
    this.written++
    if (expected > 0) await this.sink.write(bytes)
  }

  async end(): Promise<void> {
    const total = this.tensors?.length
    if (this.written !== total) throw new Error(`ended after ${this.written} of ${total ?? 'no'} tensors`)
    await this.sink.end()
  }
}
