/**
 * A safetensors file that exists only as it is read: its size and every offset follow from names, dtypes and shapes,
 * and a tensor is produced when a range touches it. This is how an expert is downloaded as ordinary weights without
 * ever being written out.
 */
import type { ByteSource } from './byte-source.ts'
import { TensorError } from './errors.ts'
import { serialiseHeader, type TensorSpan, tensorBytes } from './safetensors-header.ts'
import type { TensorSource } from './tensor.ts'

/** Chunks handed to the consumer. Large enough to cost little, small enough to react to back-pressure. */
const CHUNK_BYTES = 1 << 20

/** A virtual file: also a ByteSource, so that anything that reads safetensors can read it. */
export interface SafetensorsView extends ByteSource {
  /** Bytes [start, end) in order, in chunks of at most 1 MiB; one tensor is in memory at a time. */
  stream(start?: number, end?: number, signal?: AbortSignal): AsyncIterable<Uint8Array>
}

/** Lays the source's tensors out in their order. Throws what `serialiseHeader` throws; reads nothing yet. */
export function safetensorsView(source: TensorSource): SafetensorsView {
  const header = serialiseHeader(source.tensors, source.metadata)
  const spans: TensorSpan[] = []
  let offset = header.byteLength
  for (const tensor of source.tensors) {
    const end = offset + tensorBytes(tensor)
    const { name, dtype, shape } = tensor
    if (end > offset) spans.push({ name, dtype, shape, start: offset, end })
    offset = end
  }
  return new TensorFileView(source, header, spans, offset)
}

class TensorFileView implements SafetensorsView {
  readonly size: number
  private readonly source: TensorSource
  private readonly header: Uint8Array
  /** Without the empty tensors, so each span holds at least a byte and their ends ascend. */
  private readonly spans: readonly TensorSpan[]

  constructor(source: TensorSource, header: Uint8Array, spans: readonly TensorSpan[], size: number) {
    this.source = source
    this.header = header
    this.spans = spans
    this.size = size
  }

  async *stream(start = 0, end = this.size, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    this.checkRange(start, end)
    if (start < this.header.byteLength) yield* chunks(this.header, start, end, signal)
    for (let i = firstEndingAfter(this.spans, start); i < this.spans.length && this.spans[i]!.start < end; i++) {
      signal?.throwIfAborted()
      const span = this.spans[i]!
      // Inlined so that no variable keeps this tensor alive while the next one is read.
      if (this.source.streamBytes === undefined || start > span.start)
        yield* chunks(await this.tensor(span, signal), start - span.start, end - span.start, signal)
      else yield* this.pieces(span, end, signal)
    }
  }

  /** A tensor from its first byte, as it is made; stops at offset `end` of the file. */
  private async *pieces(span: TensorSpan, end: number, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    let at = span.start
    for await (const piece of this.source.streamBytes!(span.name, signal)) {
      yield* chunks(piece, 0, end - at, signal)
      at += piece.byteLength
      if (at >= end) return
    }
    if (at !== span.end)
      throw new Error(`tensor ${span.name} gave ${at - span.start} bytes for ${span.end - span.start}`)
  }

  async read(start: number, end: number, signal?: AbortSignal): Promise<Uint8Array> {
    this.checkRange(start, end)
    const out = new Uint8Array(end - start)
    let at = 0
    for await (const chunk of this.stream(start, end, signal)) {
      out.set(chunk, at)
      at += chunk.byteLength
    }
    return out
  }

  async close(): Promise<void> {
    await this.source.close?.()
  }

  private async tensor(span: TensorSpan, signal?: AbortSignal): Promise<Uint8Array> {
    const bytes = await this.source.readBytes(span.name, signal)
    if (bytes.byteLength === span.end - span.start) return bytes
    throw new Error(`tensor ${span.name} gave ${bytes.byteLength} bytes for ${span.end - span.start}`)
  }

  private checkRange(start: number, end: number): void {
    if (start >= 0 && start <= end && end <= this.size) return
    throw new TensorError('SOURCE_TRUNCATED', `bytes ${start}..${end} asked of ${this.size}`, { start, end })
  }
}

function* chunks(bytes: Uint8Array, start: number, end: number, signal?: AbortSignal): Generator<Uint8Array> {
  const last = Math.min(end, bytes.byteLength)
  for (let at = Math.max(start, 0); at < last; at += CHUNK_BYTES) {
    signal?.throwIfAborted()
    yield bytes.subarray(at, Math.min(at + CHUNK_BYTES, last))
  }
}

/** Binary search: the first span with a byte at or after `offset`. */
function firstEndingAfter(spans: readonly TensorSpan[], offset: number): number {
  let low = 0
  let high = spans.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (spans[middle]!.end > offset) high = middle
    else low = middle + 1
  }
  return low
}
