/** Safetensors: headers by themselves, at a high rate, and whole files, whose tensors are read and written again. */
import { memorySource } from '../../tensors/byte-source.ts'
import { type Dtype, dtypeBytes, isDtype, isSubByte } from '../../tensors/dtype.ts'
import {
  headerLength,
  MAX_DIMENSIONS,
  MAX_NAME_LENGTH,
  parseHeader,
  type SafetensorsHeader,
  serialiseHeader,
} from '../../tensors/safetensors-header.ts'
import { openSafetensors } from '../../tensors/safetensors-reader.ts'
import { safetensorsView } from '../../tensors/safetensors-view.ts'
import { hasLoneSurrogate } from '../../tensors/strict-json.ts'
import type { Dice } from './dice.ts'
import { EDGES } from './dice.ts'
import { mutateBytes } from './mutate-bytes.ts'
import { mutateJson, mutateJsonText } from './mutate-json.ts'
import { bytesOf, type SafetensorsSeed, safetensorsSeeds } from './safetensors-seeds.ts'
import { expectSame, expectSameBytes, type Outcome, refusal, type Target, Violation } from './target.ts'

const CODES = ['SAFETENSORS_INVALID', 'SAFETENSORS_HEADER_TOO_LARGE', 'DTYPE_UNSUPPORTED']

const seeds = safetensorsSeeds()
const utf8 = new TextEncoder()
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const lenient = new TextDecoder()

/** The size of the file (8 bytes), then its header. */
export const headerTarget: Target = {
  name: 'safetensors-header',
  weight: 40,
  generate(dice) {
    const seed = dice.pick(seeds)
    const header = changedHeader(dice, seed)
    const input = new Uint8Array(8 + header.length)
    const size = dice.chance(0.9) ? header.length + seed.data.length : dice.pick(EDGES)
    new DataView(input.buffer).setBigUint64(0, BigInt(size), true)
    input.set(header, 8)
    return input
  },
  run: runHeader,
}

/** The header with its length, which mostly fits what follows it. */
function changedHeader(dice: Dice, seed: SafetensorsSeed): Uint8Array {
  const { header } = seed
  const action = dice.below(10)
  if (action === 0) return mutateBytes(dice, header, dice.pick(seeds).header)
  const json = header.subarray(8)
  const changed = action < 4 ? mutateBytes(dice, json, dice.pick(seeds).header.subarray(8)) : changedText(dice, seed)
  const whole = new Uint8Array(8 + changed.length)
  new DataView(whole.buffer).setBigUint64(0, BigInt(changed.length), true)
  whole.set(changed, 8)
  return whole
}

function changedText(dice: Dice, { text, value }: SafetensorsSeed): Uint8Array {
  if (dice.chance(0.4)) return utf8.encode(mutateJsonText(dice, text))
  return utf8.encode(JSON.stringify(mutateJson(dice, value)) ?? '')
}

function runHeader(input: Uint8Array): Outcome {
  if (input.length < 8) return 'cut'
  const size = Number(new DataView(input.buffer, input.byteOffset).getBigUint64(0, true))
  const file = input.subarray(8)
  let json: Uint8Array | undefined
  try {
    const length = headerLength(file.subarray(0, 8), size)
    if (length + 8 > size) throw new Violation(`a header of ${length} bytes in a file of ${size}`)
    json = file.subarray(8, 8 + length)
    const header = parseHeader(json, size)
    if (plainVerdict(json, size) === 'invalid') throw new Violation('accepted, and breaks a rule')
    checkHeader(header, json, size)
    return 'accepted'
  } catch (error) {
    const code = refusal(error, CODES)
    // Text that is no JSON at all is asked about now and then only: JSON.parse takes its time to say so.
    const asked = json !== undefined && (!(error as Error).message.includes('no strict JSON') || json.length % 8 === 0)
    if (asked && plainVerdict(json!, size) === 'valid')
      throw new Violation(`refused with ${code}, and breaks no rule`, { cause: error })
    return code
  }
}

/** What was accepted, told again by JSON.parse, and after it is written and read again. */
function checkHeader({ tensors, metadata }: SafetensorsHeader, json: Uint8Array, size: number): void {
  const plain = JSON.parse(lenient.decode(json)) as Record<string, Record<string, unknown>>
  const dataStart = 8 + json.length
  expectSame('number of tensors', tensors.length, Object.keys(plain).filter((name) => name !== '__metadata__').length)
  let end = dataStart
  for (const tensor of tensors) {
    const { dtype, shape, data_offsets } = plain[tensor.name]!
    expectSame(tensor.name, [tensor.dtype, tensor.shape], [dtype, shape])
    expectSame(tensor.name, [tensor.start - dataStart, tensor.end - dataStart], data_offsets)
    if (tensor.start !== end || tensor.end - tensor.start !== bytesOf(tensor))
      throw new Violation(`${tensor.name} lies at ${tensor.start}..${tensor.end}, expected at ${end}`)
    end = tensor.end
  }
  expectSame('end of the data', end, size)
  const again = serialiseHeader(tensors, metadata)
  const parsed = parseHeader(again.subarray(8), again.length + end - dataStart)
  expectSame('metadata', parsed.metadata, metadata)
  const described = (header: SafetensorsHeader) => header.tensors.map(({ name, dtype, shape }) => [name, dtype, shape])
  expectSame('tensors', described(parsed).sort(), described({ tensors, metadata }).sort())
}

/**
 * The rules once more, over JSON.parse: 'unknown' for text that JSON.parse reads more kindly than the format allows
 * (keys twice, spellings of numbers), which is any that it does not give back as it was.
 */
function plainVerdict(json: Uint8Array, size: number): 'valid' | 'invalid' | 'unknown' {
  let text: string
  let root: unknown
  try {
    text = strict.decode(json).replace(/[ \t\n\r]+$/, '')
    root = JSON.parse(text)
  } catch {
    return 'invalid'
  }
  if (JSON.stringify(root) !== text) return 'unknown'
  if (!isRecord(root)) return 'invalid'
  const { __metadata__: metadata, ...tensors } = root
  if (metadata !== undefined && !(isRecord(metadata) && Object.values(metadata).every((v) => typeof v === 'string')))
    return 'invalid'
  if (hasLoneSurrogate(JSON.stringify(metadata ?? '').replaceAll(/\\u(d[89a-f]..)/g, '\ud800'))) return 'invalid'
  const spans: [number, number][] = []
  for (const [name, tensor] of Object.entries(tensors)) {
    const span = plainSpan(name, tensor)
    if (span === undefined) return 'invalid'
    spans.push(span)
  }
  spans.sort((a, b) => a[0] - b[0] || a[1] - b[1])
  let end = 0
  for (const [from, to] of spans) {
    if (from !== end) return 'invalid'
    end = to
  }
  return end + 8 + json.length === size ? 'valid' : 'invalid'
}

function plainSpan(name: string, tensor: unknown): [number, number] | undefined {
  if (name.length > MAX_NAME_LENGTH || name.includes('\0') || hasLoneSurrogate(name)) return undefined
  if (!isRecord(tensor) || Object.keys(tensor).sort().join() !== 'data_offsets,dtype,shape') return undefined
  const { dtype, shape, data_offsets: offsets } = tensor
  if (typeof dtype !== 'string' || !isDtype(dtype) || isSubByte(dtype)) return undefined
  if (!isCounts(shape) || shape.length > MAX_DIMENSIONS || !isCounts(offsets) || offsets.length !== 2) return undefined
  const bytes = shape.reduce((product, n) => product * BigInt(n), BigInt(dtypeBytes(dtype as Dtype)))
  if (BigInt(offsets[1]!) - BigInt(offsets[0]!) !== bytes) return undefined
  // A shape whose product passes 2^53 on the way to a zero is refused, as the format's own reader does.
  let product: number = dtypeBytes(dtype as Dtype)
  for (const n of shape) {
    product *= n
    if (product > Number.MAX_SAFE_INTEGER) return undefined
  }
  return [offsets[0]!, offsets[1]!]
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0 && !Object.is(n, -0))
}

export const fileTarget: Target = {
  name: 'safetensors-file',
  weight: 2,
  generate(dice) {
    const seed = dice.pick(seeds)
    const file = new Uint8Array(Buffer.concat([changedHeader(dice, seed), seed.data]))
    return dice.chance(0.2) ? mutateBytes(dice, file, dice.pick(seeds).header) : file
  },
  run: runFile,
}

/** Reading and viewing give the file's own bytes; any range of the view is that range of the whole. */
async function runFile(bytes: Uint8Array): Promise<Outcome> {
  let file: Awaited<ReturnType<typeof openSafetensors>>
  try {
    file = await openSafetensors(memorySource(bytes))
  } catch (error) {
    return refusal(error, CODES)
  }
  for (const tensor of file.tensors) {
    expectSameBytes(tensor.name, await file.readBytes(tensor.name), bytes.subarray(tensor.start, tensor.end))
    try {
      await file.read(tensor.name)
    } catch (error) {
      refusal(error, ['DTYPE_UNSUPPORTED'])
    }
  }
  const view = safetensorsView(file)
  const whole = await view.read(0, view.size)
  const again = await openSafetensors(memorySource(whole))
  for (const { name } of file.tensors)
    expectSameBytes(`${name}, written again`, await again.readBytes(name), await file.readBytes(name))
  const [from, to] = [Math.floor(whole.length / 3), whole.length - (bytes[0]! % 7)]
  if (from <= to) expectSameBytes('a range of the view', await view.read(from, to), whole.subarray(from, to))
  return 'accepted'
}
