/** The containers of spec/vectors/invalid: one small valid file, and one thing wrong with each copy of it. */
import * as zlib from 'node:zlib'
import { sgr } from '../../compress/codecs/sgr.ts'
import type { CompressErrorCode } from '../../compress/errors.ts'
import { fromF32 } from '../../tensors/dtype.ts'
import {
  buildContainer,
  putTogether,
  sealTable,
  type TensorSpec,
  takeApart,
  withStored,
  withTable,
} from '../../test/unit/compress/container-builder.ts'
import { Random } from './random.ts'

export interface InvalidCase {
  readonly name: string
  readonly description: string
  readonly code: CompressErrorCode
  /** Where a reader notices: opening the file, or reading what is in it. */
  readonly stage: 'open' | 'read'
  readonly file: Uint8Array
}

type Named = readonly [name: string, description: string, file: Uint8Array | Promise<Uint8Array>]

const FRAME = 0
const CHUNK = 1

export async function invalidCases(): Promise<InvalidCase[]> {
  const files = { bitplane: await small('bitplane'), rice: await small('rice') }
  const sgrFile = await uneven()
  const { rice } = files
  return Promise.all([
    ...headerCases(rice).map((one) => finish('CONTAINER_INVALID', 'open', one)),
    ...versionCases(rice).map((one) => finish('CONTAINER_VERSION_UNSUPPORTED', 'open', one)),
    ...digestCases(rice).map((one) => finish('CHECKSUM_MISMATCH', 'open', one)),
    ...(await tableCases(rice)).map((one) => finish('CONTAINER_INVALID', 'open', one)),
    ...layerCases(rice).map((one) => finish('CONTAINER_INVALID', 'open', one)),
    ...(await tableTextCases(rice)).map((one) => finish('CONTAINER_INVALID', 'open', one)),
    ...(await scalesCases(rice)).map((one) => finish('CONTAINER_INVALID', 'open', one)),
    finish('CODEC_UNKNOWN', 'open', ['codec-unknown', 'codec 200', withTable(rice, { codec: 200 })]),
    ...(await checksumCases(rice)).map((one) => finish('CHECKSUM_MISMATCH', 'read', one)),
    ...(await frameCases({ ...files, sgr: sgrFile })).map((one) =>
      finish('CONTAINER_INVALID', one[0].endsWith('-empty') ? 'open' : 'read', one),
    ),
    ...(await sgrCases(sgrFile)).map((one) => finish('CONTAINER_INVALID', 'read', one)),
    ...chunkCases(rice).map((one) => finish('CONTAINER_INVALID', 'read', one)),
  ])
}

async function finish(code: CompressErrorCode, stage: 'open' | 'read', one: Named): Promise<InvalidCase> {
  const [name, description, file] = one
  return { name, description, code, stage, file: await file }
}

const WEIGHTS = fromF32(new Random(21).weights(40), 'F32')

function small(codec: string): Promise<Uint8Array> {
  const random = new Random(20)
  const one = { axis: 'tensor', values: Float32Array.of(0.5) } as const
  const tensors: TensorSpec[] = [
    { name: 'a.w', dtype: 'F32', shape: [8, 20], trits: random.trits(8, 20, () => 0.2), scales: one },
    { name: 'a.v', dtype: 'F32', shape: [8, 20], trits: random.trits(8, 20, () => 0.2), scales: one },
    { name: 'a.n', dtype: 'F32', shape: [40], bytes: WEIGHTS },
  ]
  return buildContainer({ codec, tensors })
}

/** Large enough and uneven enough for strata and classes to pay. */
function uneven(): Promise<Uint8Array> {
  const random = new Random(22)
  const one = { axis: 'tensor', values: Float32Array.of(0.5) } as const
  const density = (row: number, col: number) => (row % 4 === 0 ? 0.4 : 0.02) * (col % 3 === 0 ? 1 : 0.3)
  const tensors: TensorSpec[] = [
    { name: 'a.w', dtype: 'F32', shape: [40, 200], trits: random.trits(40, 200, density), scales: one },
    { name: 'a.v', dtype: 'F32', shape: [3, 50], trits: random.trits(3, 50, () => 0.2), scales: one },
  ]
  return buildContainer({ codec: 'sgr', tensors })
}

/** `file` with the bytes at `at` replaced. */
function patch(file: Uint8Array, at: number, bytes: readonly number[]): Uint8Array {
  const copy = file.slice()
  copy.set(bytes, at)
  return copy
}

function headerCases(file: Uint8Array): Named[] {
  const dosToUnix = Uint8Array.from([...file.subarray(0, 4), ...file.subarray(5)])
  return [
    ['no-bytes', 'an empty file', new Uint8Array(0)],
    ['header-cut', '40 bytes of the header', file.subarray(0, 40)],
    ['magic-wrong', 'another first byte', patch(file, 0, [0x55])],
    ['magic-text-mode', 'the carriage return lost in a transfer as text', dosToUnix],
    ['flag-set', 'flag bit 0', patch(file, 10, [1])],
    ['reserved-set', 'a bit of the reserved field', patch(file, 31, [0x80])],
    ['table-raw-over-limit', 'a raw table of 2^24 + 1 bytes', patch(file, 16, [1, 0, 0, 1])],
    ['scales-raw-over-limit', 'raw scales of 2^26 + 1 bytes', patch(file, 24, [1, 0, 0, 4])],
    ['table-past-end', 'a stored table longer than the file', patch(file, 12, [0xff, 0xff, 0xff, 0xff])],
    ['scales-past-end', 'a stored scales block longer than the file', patch(file, 20, [0xff, 0xff, 0xff, 0xff])],
    ['payload-past-end', 'a payload of 2^64 - 1 bytes', patch(file, 32, Array(8).fill(0xff))],
    ['truncated', 'the last byte missing', file.subarray(0, -1)],
    ['trailing-byte', 'a byte behind the end', Uint8Array.from([...file, 0])],
  ]
}

function versionCases(file: Uint8Array): Named[] {
  return [
    ['version-0', 'version 0', patch(file, 8, [0])],
    ['version-2', 'version 2', patch(file, 8, [2])],
    ['version-257', 'version 257: both bytes count', patch(file, 9, [1])],
  ]
}

function digestCases(file: Uint8Array): Named[] {
  const flip = (at: number) => patch(file, at, [file[at]! ^ 1])
  const scalesAt = 64 + new DataView(file.buffer).getUint32(12, true)
  return [
    ['digest-damaged', 'a bit of the digest', flip(63)],
    ['table-damaged', 'a bit of the stored table', flip(80)],
    ['scales-damaged', 'a bit of the stored scales', flip(scalesAt + 8)],
    ['table-raw-wrong', 'another raw length, within the limit', patch(file, 16, [1, 0, 0, 0])],
  ]
}

async function tableCases(file: Uint8Array): Promise<Named[]> {
  const { table, payload } = await takeApart(file)
  const [w, v, n] = table.types as unknown[]
  const frame = (table.frames as number[])[0]!
  const chunk = (table.chunks as number[])[0]!
  const crcs = table.crcs as number[]
  const named = (name: string, description: string, change: Record<string, unknown>): Named => [
    name,
    description,
    withTable(file, change),
  ]
  const typed = (name: string, description: string, type: unknown) => named(name, description, { types: [type, v, n] })
  return [
    named('table-kind-unknown', 'kind "dora"', { kind: 'dora' }),
    named('table-origin-missing', 'no origin', { origin: undefined }),
    named('table-options-missing', 'no options', { options: undefined }),
    named('table-base-without-digest', 'a base without a digest', { base: { repo: 'a/b' } }),
    named('table-base-names-half', 'base names that strip and add nothing', { base_names: { strip: 'a.' } }),
    named('table-metadata-number', 'metadata that is no text', { metadata: { a: 1 } }),
    named('table-key-unknown', 'an unknown key', { extra: 0 }),
    named('table-codec-fraction', 'codec 2.5', { codec: 2.5 }),
    named('names-duplicate', 'two tensors named a.w', { names: ['a.w', 'w', 'n'] }),
    named('names-shared-too-many', 'more shared segments than there are', { shared: [0, 2, 1] }),
    named('names-too-long', 'a name of 1025 bytes', { names: ['a.w', `v${'é'.repeat(511)}`, 'n'] }),
    named('names-column-short', 'two names for three tensors', { names: ['a.w', 'v'] }),
    named('type-out-of-range', 'type 3 of 3', { type: [0, 1, 3] }),
    named('type-column-short', 'two types for three tensors', { type: [0, 1] }),
    typed('dtype-unknown', 'dtype F24', ['F24', [8, 20], 1, 0]),
    typed('dtype-sub-byte', 'dtype F4', ['F4', [8, 20], 1, 0]),
    typed('dtype-not-floating', 'trits of dtype I32', ['I32', [8, 20], 1, 0]),
    typed('storage-unknown', 'storage kind 4', ['F32', [8, 20], 4, 0]),
    typed('shape-negative', 'a negative dimension', ['F32', [-8, 20], 1, 0]),
    typed('shape-fraction', 'a dimension of 8.0', ['F32', ['8.0', 20], 1, 0]),
    typed('shape-65-dimensions', '65 dimensions', ['F32', [160, ...Array(64).fill(1)], 1, 0]),
    typed('shape-product', 'dimensions that multiply to 2^53', ['F32', [2 ** 30, 2 ** 23], 1, 0]),
    typed('shape-product-with-zero', 'the same, and a zero', ['F32', [2 ** 30, 2 ** 23, 0], 1, 0]),
    typed('trits-too-many', '2^31 trits', ['F32', [2 ** 16, 2 ** 15], 1, 0]),
    typed('trits-beyond-frames', 'a shape that takes two frames, and one frame', ['F32', [600, 600], 1, 0]),
    named('lossless-too-large', 'a lossless tensor over 2^34 bytes', { types: [w, v, ['F32', [2 ** 33], 0, 0]] }),
    named('lossless-beyond-chunks', 'two chunks due, and one there', { types: [w, v, ['F32', [2 ** 21], 0, 0]] }),
    typed('scales-before-first', 'the scales of a tensor before the first', ['F32', [8, 20], 1, 1]),
    named('scales-of-other-length', '8 row scales taken from one', { types: [w, ['F32', [8, 20], 2, 1], n] }),
    named('scales-on-lossless', 'scales on a lossless tensor', { types: [w, v, ['F32', [40], 0, 1]] }),
    named('frames-too-many', 'two frames where the plan has one', {
      frames: [frame, 0],
      crcs: [crcs[0], 0, crcs[1]],
    }),
    named('crcs-too-few', 'one checksum for a frame and a chunk', { crcs: crcs.slice(1) }),
    named('lengths-below-payload', 'frames and chunks shorter than the payload', { frames: [frame - 1] }),
    named('lengths-beyond-payload', 'frames and chunks longer than the payload', { frames: [payload.length] }),
    named('chunk-empty', 'a chunk of no bytes', { frames: [frame + chunk], chunks: [0] }),
    named('chunk-larger-than-raw', 'a chunk of more bytes than it unpacks to', {
      frames: [frame + chunk - 161],
      chunks: [161],
    }),
    named('column-null', 'a column that is null: an absent one is empty, null is not', { references: null }),
    named('references-too-many', 'two references for one lossless tensor', { references: [null, null] }),
  ]
}

function layerCases(file: Uint8Array): Named[] {
  return [
    ['layers-none', 'no layers', withTable(file, { layers: [] })],
    ['layers-rising', 'a layer worth more than the one before', withTable(file, { layers: [1, 3] })],
    ['layers-equal', 'two layers of one worth', withTable(file, { layers: [3, 3] })],
    ['layers-worth-zero', 'a layer worth nothing', withTable(file, { layers: [1, 0] })],
    ['layers-worth-large', 'a layer worth 65537', withTable(file, { layers: [65537] })],
    ['layers-too-many', 'nine layers', withTable(file, { layers: [9, 8, 7, 6, 5, 4, 3, 2, 1] })],
    ['layers-more-than-frames', 'two layers and the frames of one', withTable(file, { layers: [3, 1] })],
  ]
}

async function tableTextCases(file: Uint8Array): Promise<Named[]> {
  const { table, scales, payload } = await takeApart(file)
  const json = JSON.stringify(table)
  const text = (name: string, description: string, changed: string): Named => [
    name,
    description,
    sealTable(new TextEncoder().encode(changed), scales, payload),
  ]
  return [
    text('table-no-object', 'a table that is an array', '[]'),
    text('table-no-json', 'a table that is cut off', json.slice(0, -1)),
    text('table-key-twice', 'a key given twice', json.replace('{', '{"kind":"ia3",')),
    text('table-too-deep', 'nesting of 10,000', json.replace('"options":{}', `"options":${nested(10_000)}`)),
    text('table-lone-surrogate', 'half a surrogate pair', json.replace('"a.w"', '"\\ud83d"')),
    text('table-byte-order-mark', 'a byte order mark', `\ufeff${json}`),
    text('table-too-many-values', 'five million values', json.replace('"options":{}', `"options":{"a":${zeros()}}`)),
    text(
      'table-too-many-objects',
      'objects count as 16 values',
      json.replace('"options":{}', `"options":{"a":${objects()}}`),
    ),
    text(
      'base-names-too-long',
      'a prefix that makes 36 MB of names',
      json.replace('"options":{}', `"options":{},"base_names":{"strip":"","add":"${'x'.repeat(12_000_000)}"}`),
    ),
    text(
      'number-with-fraction',
      'codec 2.0: an integer is written without a fraction',
      json.replace('"codec":2', '"codec":2.0'),
    ),
    ['table-not-utf8', 'a byte that UTF-8 does not have', sealTable(Uint8Array.of(0x7b, 0xff, 0x7d), scales, payload)],
  ]
}

function nested(depth: number): string {
  return '{"a":'.repeat(depth) + 1 + '}'.repeat(depth)
}

function objects(): string {
  return `[${'{},'.repeat(2 ** 18)}{}]`
}

function zeros(): string {
  return `[${'0,'.repeat(5_000_000)}0]`
}

async function scalesCases(file: Uint8Array): Promise<Named[]> {
  const parts = await takeApart(file)
  const withScales = (name: string, description: string, scales: number[]): Named => [
    name,
    description,
    putTogether({ ...parts, scales: Uint8Array.from(scales) }),
  ]
  return [
    withScales('scale-negative', 'a scale of -0.5', [0, 0, 0, 0xbf]),
    withScales('scale-minus-zero', 'a scale of -0', [0, 0, 0, 0x80]),
    withScales('scale-infinite', 'an infinite scale', [0, 0, 0x80, 0x7f]),
    withScales('scale-nan', 'a scale that is NaN', [0, 0, 0xc0, 0x7f]),
    withScales('scales-too-short', 'a scales block of two bytes for one f32', [0, 0]),
    withScales('scales-too-long', 'a scales block of eight bytes for one f32', [0, 0, 0, 0, 0, 0, 0, 0x3f]),
  ]
}

async function checksumCases(file: Uint8Array): Promise<Named[]> {
  const { payload } = await takeApart(file)
  const flip = (fromEnd: number) => patch(file, file.length - fromEnd, [file[file.length - fromEnd]! ^ 1])
  return [
    ['frame-damaged', 'a bit of a trit frame', flip(payload.length)],
    ['chunk-damaged', 'a bit of a lossless chunk', flip(1)],
  ]
}

async function frameCases(files: Readonly<Record<'bitplane' | 'rice' | 'sgr', Uint8Array>>): Promise<Named[]> {
  const cases: Named[] = []
  for (const [codec, file] of Object.entries(files)) {
    const { table, payload } = await takeApart(file)
    const frame = payload.slice(0, (table.frames as number[])[0])
    const stored = (what: string, description: string, bytes: Uint8Array): Named => [
      `${codec}-${what}`,
      description,
      withStored(file, FRAME, bytes),
    ]
    cases.push(
      stored('empty', 'a frame of no bytes', new Uint8Array(0)),
      stored('cut', 'the last byte of a frame missing', frame.subarray(0, -1)),
      stored('trailing', 'a byte behind the end of a frame', Uint8Array.from([...frame, 0])),
    )
  }
  const rice = (what: string, description: string, bytes: number[]): Named => [
    `rice-${what}`,
    description,
    withStored(files.rice, FRAME, Uint8Array.from(bytes)),
  ]
  cases.push(
    rice('count-beyond-entries', '161 non-zeros in 160 entries', [0xa1, 0x01, 0, ...Array(100).fill(0xff), 0]),
    rice('position-past-end', 'a gap of 160 before the first', [1, 7, 0b0010, 0b0100_0000 | 1, 0]),
    rice('parameter-19', 'a Rice parameter of 19', [1, 19, 1, 0, 0, 0, 0]),
    rice('varint-not-shortest', 'a count of zero in two bytes', [0x80, 0x00, 0]),
    rice('varint-too-long', 'a count of more than 32 bits', [0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0]),
    rice('padding-set', 'a set bit behind the last non-zero', [1, 0, 0b1000_0001, 0]),
  )
  return cases
}

async function sgrCases(file: Uint8Array): Promise<Named[]> {
  const { payload } = await takeApart(file)
  const firstSide = sgr.sideLength(payload, 0, 40, 200)
  const body = firstSide + sgr.sideLength(payload, firstSide, 3, 50)
  // Two varints of two bytes and one, then the head: the states follow it.
  const headLength = payload[body]!
  const statesAt = body + 3 + headLength
  if (payload[body]! >= 0x80 || payload[body + 1]! < 0x80) throw new Error('the sample frame has another form')
  const changed = (what: string, description: string, at: number, bytes: number[]): Named => [
    `sgr-${what}`,
    description,
    withStored(file, FRAME, patch(payload, at, bytes)),
  ]
  // No classes; the whole frame by hand. 8000 and 150 entries.
  const made = (what: string, description: string, bytes: number[]): Named => [
    `sgr-${what}`,
    description,
    withStored(file, FRAME, Uint8Array.from([0, 0, ...bytes])),
  ]
  const start = [0, 0, 1, 0]
  return [
    changed('mode-reserved', 'a reserved bit of the mode byte', 0, [payload[0]! | 0x10]),
    changed('too-many-classes', 'four classes of three rows', firstSide, [2]),
    changed('head-past-end', 'a head longer than the frame', body, [0x7f]),
    changed('state-too-low', 'a state below 2^16', statesAt, [0, 0, 0, 0]),
    changed('final-state', 'states that do not end where they began', statesAt + 4, [payload[statesAt + 4]! ^ 1]),
    made('rans-odd', 'a rANS section of nine bytes', [2, 9, 0, 0, ...start, ...start, 0]),
    made('rans-short', 'a rANS section of six bytes', [2, 6, 0, 0, ...start, 0, 0]),
    made('count-beyond-stratum', '8001 non-zeros in 8000 entries', [3, 8, 0xc1, 0x3e, 0, ...start, ...start]),
    made('raw-too-short', 'one non-zero without its raw bits', [2, 8, 1, 0, ...start, ...start]),
    made('words-left', 'a word that no symbol takes', [2, 10, 0, 0, ...start, ...start, 7, 7]),
    made('escapes-left', 'an escape without its symbol', [3, 8, 0, 0, 99, ...start, ...start]),
    // Shift 10, table 31; slot 4095 is its escape, symbol 50.
    made('escape-too-small', 'an escape of 5', [3, 10, 1, 0, 5, 0xff, 0x0f, 0x10, 0, ...start, 0, 0, 0, 0]),
    made('escape-too-large', 'an escape of 2^32 - 1', [
      ...[7, 10, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f],
      ...[0xff, 0x0f, 0x10, 0, ...start, 0, 0, 0, 0],
    ]),
  ]
}

function chunkCases(file: Uint8Array): Named[] {
  const { ZSTD_c_checksumFlag, ZSTD_c_contentSizeFlag } = zlib.constants
  const packed = (raw: Uint8Array, flags: Record<number, number> = {}) =>
    new Uint8Array(zlib.zstdCompressSync(raw, { params: { [ZSTD_c_checksumFlag]: 1, ...flags } }))
  const planes = new Uint8Array(160)
  const good = packed(planes)
  const chunk = (name: string, description: string, bytes: Uint8Array): Named => [
    `chunk-${name}`,
    description,
    withStored(file, CHUNK, bytes),
  ]
  const damaged = patch(good, good.length - 1, [good.at(-1)! ^ 1])
  return [
    chunk('no-zstd', 'neither as long as raw nor zstd', new Uint8Array(20)),
    chunk('cut', 'a zstd frame without its last byte', good.subarray(0, -1)),
    chunk('trailing', 'a byte behind the zstd frame', Uint8Array.from([...good, 0])),
    chunk(
      'two-frames',
      'two zstd frames',
      Uint8Array.from([...packed(planes.subarray(80)), ...packed(planes.subarray(80))]),
    ),
    chunk('no-zstd-checksum', 'a zstd frame without a checksum', packed(planes, { [ZSTD_c_checksumFlag]: 0 })),
    chunk(
      'no-content-size',
      'a zstd frame that does not state its size',
      packed(planes, { [ZSTD_c_contentSizeFlag]: 0 }),
    ),
    chunk('zstd-checksum-wrong', 'a zstd frame whose checksum is wrong', damaged),
    chunk('raw-length-wrong', 'a zstd frame of 159 raw bytes for 160', packed(planes.subarray(1))),
    chunk('bomb', 'a zstd frame of 4 MiB for 160 bytes', packed(new Uint8Array(2 ** 22)).slice(0, 159)),
    chunk('lies-about-size', 'a zstd frame that states 160 bytes and decodes to 131,072', lyingFrame(160)),
    chunk('window', 'a zstd frame that asks for a window of 2^31', windowFrame()),
  ]
}

/** States `size` raw bytes, holds one RLE block of 2^17. */
function lyingFrame(size: number): Uint8Array {
  return Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0x24, size, 3, 0, 16, 0, 0, 0, 0, 0])
}

/** States 160 raw bytes in a frame that is no single segment. */
function windowFrame(): Uint8Array {
  const content = [160, 0, 0, 0]
  const block = [((160 << 3) & 0xff) | 3, 160 >> 5, 0, 0]
  return Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0x84, 21 << 3, ...content, ...block, 0, 0, 0, 0])
}
