/**
 * Stored trit frames, straight into the decoders. SGR in WebAssembly and in JavaScript, bitplane and rice beside plain
 * decoders: the same positions, or both refuse. What decodes is encoded again, by both encoders, and comes back the same.
 */
import { bitplane } from '../../compress/codecs/bitplane.ts'
import { rice } from '../../compress/codecs/rice.ts'
import { sgrWith } from '../../compress/codecs/sgr.ts'
import { referenceCoder } from '../../compress/codecs/sgr-reference.ts'
import { wasmCoder } from '../../compress/codecs/sgr-wasm.ts'
import type { EncodePart, FramePart, TritCodec } from '../../compress/codecs/trit-codec.ts'
import { applyTrits, type TritTarget } from '../../compress/codecs/trit-values.ts'
import { jsKernels } from '../../compress/kernels/js.ts'
import { SIGN_BIT } from '../../compress/quantized-tensor.ts'
import { bytesRequested, meterAllocations } from './allocation-meter.ts'
import { Dice, EDGES } from './dice.ts'
import { GuardedHeap } from './guarded-heap.ts'
import { mutateBytes, splice } from './mutate-bytes.ts'
import { plainBitplane, plainRice } from './plain-decoders.ts'
import { expectSameBytes, type Outcome, refusal, type Target, Violation } from './target.ts'

const heap = new GuardedHeap()
const wasm = sgrWith(wasmCoder(heap))
const reference = sgrWith(referenceCoder)
const CODECS: readonly TritCodec[] = [bitplane, rice, reference]

/** Shape of a tensor in the frame; `start`: it began in an earlier frame, which had so many entries. */
interface Shape {
  readonly rows: number
  readonly cols: number
  readonly start?: number
}

const LAYOUTS: readonly (readonly Shape[])[] = [
  [{ rows: 1, cols: 1 }],
  [{ rows: 1, cols: 40 }],
  [{ rows: 8, cols: 24 }],
  [{ rows: 16, cols: 16 }],
  [{ rows: 64, cols: 3 }],
  [
    { rows: 3, cols: 5 },
    { rows: 8, cols: 8 },
    { rows: 1, cols: 2 },
  ],
  [
    { rows: 40, cols: 12, start: 240 },
    { rows: 9, cols: 9 },
  ],
  [{ rows: 40, cols: 12, start: 240 }],
  [{ rows: 33, cols: 31 }],
  [{ rows: 2, cols: 2000 }],
]

/** Frames that encoders wrote, made once: a case changes one of them. */
const FRAMES = 1000
const frames: { codec: number; layout: number; earlier: Uint8Array; sides: Uint8Array; body: Uint8Array }[] = []

export const framesTarget: Target = {
  name: 'frames',
  weight: 8,
  async prepare() {
    meterAllocations()
    const dice = new Dice(1)
    for (let i = 0; i < FRAMES; i++) {
      const [codec, layout] = [dice.pick([0, 1, 2, 2, 2, 2]), i % LAYOUTS.length]
      const { parts, body } = encodedFrame(dice, CODECS[codec]!, LAYOUTS[layout]!)
      const sides = parts.map(({ side }) => side)
      const earlier = parts[0]!.start > 0 ? sides.shift()! : new Uint8Array(0)
      frames.push({ codec, layout, earlier, sides: new Uint8Array(Buffer.concat(sides)), body })
    }
  },
  generate,
  run,
}

/** Codec, layout, then the side of the tensor that began earlier (one length byte), then the stored frame. */
function generate(dice: Dice): Uint8Array {
  const { codec, layout, earlier, sides, body } = dice.pick(frames)
  const changed = changeFrame(dice, sides, body, codec === 2)
  const side = dice.chance(0.1) ? mutateBytes(dice, earlier, changed).subarray(0, 255) : earlier
  return new Uint8Array(Buffer.concat([Uint8Array.of(codec, layout, side.length), side, changed]))
}

function encodedFrame(dice: Dice, codec: TritCodec, shapes: readonly Shape[]) {
  const parts = shapes.map(({ rows, cols, start = 0 }): EncodePart => {
    const density = dice.pick([0, 0.01, 0.05, 0.2, 0.5, 1])
    const uneven = dice.chance(0.5) ? dice.between(2, 5) : 1
    const all: number[] = []
    for (let i = 0; i < rows * cols; i++) {
      const dense = Math.floor(i / cols) % uneven === 0 && (i % cols) % uneven === 0
      if (dice.chance(dense ? density : density / uneven)) all.push(i + (dice.chance(0.5) ? SIGN_BIT : 0))
    }
    const whole = Uint32Array.from(all)
    const side = codec.chooseSide({ rows, cols, ...jsKernels.marginals(whole, rows, cols) })
    const positions = whole.filter((p) => p % SIGN_BIT >= start).map((p) => p - start)
    return { rows, cols, start, cells: rows * cols - start, side, positions }
  })
  return { parts, body: codec.encodeFrame(parts) }
}

function changeFrame(dice: Dice, sides: Uint8Array, body: Uint8Array, isSgr: boolean): Uint8Array {
  const whole = new Uint8Array(Buffer.concat([sides, body]))
  if (dice.chance(0.03)) return whole
  if (isSgr && dice.chance(0.6)) return new Uint8Array(Buffer.concat([sides, changeSections(dice, body)]))
  return mutateBytes(dice, whole, body)
}

/** An SGR frame with one of its sections changed and the lengths before them made to fit. */
function changeSections(dice: Dice, body: Uint8Array): Uint8Array {
  if (body[0] === 0 || body.length < 10) return mutateBytes(dice, body, body)
  const head = readVarint(body, 0)
  const rans = readVarint(body, head.end)
  const cuts = [rans.end, rans.end + head.value, rans.end + head.value + rans.value, body.length]
  const sections = [0, 1, 2].map((i): Uint8Array => body.slice(cuts[i], cuts[i + 1]))
  const at = dice.below(3)
  const old = sections[at]!
  sections[at] = dice.chance(0.5) ? sameLength(dice, old) : mutateBytes(dice, old, body, 1)
  if (at === 1 && sections[1]!.length % 2 === 1) sections[1] = sections[1]!.slice(1)
  const lengths = [...varintOf(sections[0]!.length), ...varintOf(sections[1]!.length)]
  return new Uint8Array(Buffer.concat([Uint8Array.from(lengths), ...sections]))
}

/** Bits changed, or 2, 4 or 8 bytes exchanged: nothing moves. */
function sameLength(dice: Dice, bytes: Uint8Array): Uint8Array {
  if (bytes.length === 0) return bytes
  const width = Math.min(bytes.length, dice.pick([1, 2, 4, 8]))
  const at = dice.below(bytes.length - width + 1)
  if (dice.chance(0.5)) return splice(bytes, at, width, dice.bytes(width))
  const copy = bytes.slice()
  copy[at]! ^= 1 << dice.below(8)
  if (dice.chance(0.2)) copy.set(littleEndian(dice.pick(EDGES), width), at)
  return copy
}

function littleEndian(value: number, width: number): Uint8Array {
  return Uint8Array.from({ length: width }, (_, i) => Math.floor(value / 256 ** i) % 256)
}

function readVarint(bytes: Uint8Array, start: number): { value: number; end: number } {
  let value = 0
  let end = start
  do value += (bytes[end]! & 0x7f) * 128 ** (end - start)
  while (bytes[end++]! >= 0x80)
  return { value, end }
}

function varintOf(value: number): number[] {
  return value < 0x80 ? [value] : [(value % 0x80) | 0x80, ...varintOf(Math.floor(value / 0x80))]
}

// ---- the judgement ----

/** Typed arrays a decoder may ask for: some for each entry of the frame and each byte of it, whatever the bytes say. */
function allowance(parts: readonly FramePart[], bytes: number): number {
  const entries = parts.reduce((sum, { rows, cols }) => sum + rows * cols, 0)
  return 32 * entries + 16 * bytes + 1024 * parts.length
}

function run(input: Uint8Array): Outcome {
  const [codecAt = 0, layout = 0, earlierLength = 0] = input
  const codec = CODECS[codecAt % CODECS.length]!
  const shapes = LAYOUTS[layout % LAYOUTS.length]!
  const earlier = input.slice(3, 3 + earlierLength)
  const stored = input.subarray(3 + earlierLength)
  let outcome: Outcome = 'accepted'
  let parts: FramePart[] = []
  let decoded: Uint32Array[] = []
  const decode = () => {
    try {
      const frame = splitSides(codec, stored, shapes, earlier)
      parts = frame.parts
      decoded = codec.decodeFrame(frame.body, parts)
    } catch (error) {
      outcome = refusal(error, ['CONTAINER_INVALID'])
    }
  }
  const requested = bytesRequested(decode)
  if (parts.length > 0 && requested > allowance(parts, stored.length))
    throw new Violation(`${requested} bytes asked for by a frame of ${stored.length} bytes`)
  if (parts.length > 0) compare(codec, stored, parts, outcome, decoded)
  if (outcome === 'accepted') encodeAgain(codec, parts, decoded)
  return `${codec.name} ${outcome}`
}

function splitSides(codec: TritCodec, stored: Uint8Array, shapes: readonly Shape[], earlier: Uint8Array) {
  let end = 0
  const parts = shapes.map(({ rows, cols, start = 0 }): FramePart => {
    const cells = rows * cols - start
    if (start > 0) return { rows, cols, start, cells, side: wholeSide(codec, earlier, rows, cols) }
    const length = codec.sideLength(stored, end, rows, cols)
    if (end + length > stored.length) throw new Violation(`a side of ${length} bytes at ${end} of ${stored.length}`)
    end += length
    return { rows, cols, start, cells, side: stored.slice(end - length, end) }
  })
  return { parts, body: stored.subarray(end) }
}

/** A container cuts the side of an earlier frame to its length. */
function wholeSide(codec: TritCodec, bytes: Uint8Array, rows: number, cols: number): Uint8Array {
  return bytes.slice(0, codec.sideLength(bytes, 0, rows, cols))
}

function compare(
  codec: TritCodec,
  stored: Uint8Array,
  parts: readonly FramePart[],
  outcome: Outcome,
  decoded: readonly Uint32Array[],
): void {
  const body = stored.subarray(stored.length - bodyLength(stored, parts))
  const other = otherDecoder(codec, body, parts)
  if ((other !== undefined) !== (outcome === 'accepted'))
    throw new Violation(`${codec.name}: one decoder says ${outcome}, the other ${other ? 'accepted' : 'refused'}`)
  if (codec === reference && parts.length === 1) compareValues(body, parts[0]!, decoded[0])
  other?.forEach((positions, i) => {
    expectSameBytes(`part ${i} of ${codec.name}`, decoded[i]!, Uint32Array.from(positions))
  })
}

/** Straight to numbers: what the positions make of a target, or a refusal that leaves it as it was. */
function compareValues(body: Uint8Array, part: FramePart, positions: Uint32Array | undefined): void {
  const dice = new Dice(body.length * 31 + (body.at(-1) ?? 0))
  const target = randomTarget(dice, part)
  const before = target.out.slice()
  const expected = { ...target, out: target.out.slice() }
  let done = false
  try {
    done = wasm.decodeInto?.(body, part, target) ?? false
    if (positions === undefined && done) throw new Violation('values of a frame that is refused')
  } catch (error) {
    if (positions !== undefined) throw error
    refusal(error, ['CONTAINER_INVALID'])
  }
  heap.check()
  if (done && positions !== undefined) applyTrits(positions, part, expected)
  expectSameBytes(`values of ${target.dtype}`, target.out, done ? expected.out : before)
}

/** Any bits for scales and values: NaNs and infinities too. */
function randomTarget(dice: Dice, { rows, cols, cells }: FramePart): TritTarget {
  const axis = dice.pick(['tensor', 'row', 'column'] as const)
  const dtype = dice.pick(['F32', 'F16', 'BF16'] as const)
  const values = () => {
    const { buffer } = dice.bytes(cells * (dtype === 'F32' ? 4 : 2))
    return dtype === 'F32' ? new Float32Array(buffer) : new Uint16Array(buffer)
  }
  const scales = axis === 'tensor' ? 1 : axis === 'row' ? rows : cols
  const pairs = Uint32Array.from({ length: 2 * scales }, () => dice.word())
  const common = { axis, dtype, pairs, out: values() }
  if (dice.chance(0.5)) return { ...common, operation: 'add', from: values() }
  const codes = dtype === 'F32' ? pairs : pairs.map((bits) => bits & 0xffff)
  return { ...common, operation: 'write', pairs: codes, zero: dice.word() >>> (dtype === 'F32' ? 0 : 16) }
}

function bodyLength(stored: Uint8Array, parts: readonly FramePart[]): number {
  return stored.length - parts.reduce((sum, { start, side }) => sum + (start === 0 ? side.length : 0), 0)
}

function otherDecoder(codec: TritCodec, body: Uint8Array, parts: readonly FramePart[]) {
  const cells = parts.map((part) => part.cells)
  if (codec === bitplane) return plainBitplane(body, cells)
  if (codec === rice) return plainRice(body, cells)
  let decoded: Uint32Array[] | undefined
  try {
    decoded = wasm.decodeFrame(body, parts)
  } catch (error) {
    refusal(error, ['CONTAINER_INVALID'])
  }
  heap.check()
  return decoded
}

function encodeAgain(codec: TritCodec, parts: readonly FramePart[], decoded: readonly Uint32Array[]): void {
  const again = parts.map((part, i): EncodePart => ({ ...part, positions: decoded[i]! }))
  const bytes = codec.encodeFrame(again)
  codec.decodeFrame(bytes, again).forEach((positions, i) => {
    expectSameBytes(`part ${i} of ${codec.name}, encoded again`, positions, decoded[i]!)
  })
  if (codec !== reference) return
  expectSameBytes('the frame of the WebAssembly encoder', wasm.encodeFrame(again), bytes)
  heap.check()
}
