import { describe, expect, it } from 'vitest'
import { TensorError } from '../../../tensors/errors.ts'
import {
  dataBytes,
  headerLength,
  MAX_DIMENSIONS,
  MAX_HEADER_BYTES,
  MAX_NAME_LENGTH,
  MAX_TENSORS,
  parseHeader,
  serialiseHeader,
} from '../../../tensors/safetensors-header.ts'
import type { TensorInfo } from '../../../tensors/tensor.ts'

const utf8 = new TextEncoder()

function lengthField(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value, true)
  return bytes
}

/** Parses a header text in front of `dataLength` bytes of data. */
function parse(text: string | Uint8Array, dataLength = 0) {
  const bytes = typeof text === 'string' ? utf8.encode(text) : text
  return parseHeader(bytes, 8 + bytes.byteLength + dataLength)
}

function refusal(action: () => unknown): TensorError {
  try {
    action()
  } catch (error) {
    if (error instanceof TensorError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

const ONE = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'

describe('the length field', () => {
  it('is read little-endian, up to the whole of the file', () => {
    expect(headerLength(lengthField(258n), 266)).toBe(258)
    expect(headerLength(Buffer.concat([Buffer.of(1), lengthField(258n)]).subarray(1))).toBe(258)
  })

  it('is refused above the limit of the format, with both numbers', () => {
    expect(headerLength(lengthField(BigInt(MAX_HEADER_BYTES)))).toBe(MAX_HEADER_BYTES)
    for (const value of [BigInt(MAX_HEADER_BYTES) + 1n, 2n ** 53n + 1n, 2n ** 64n - 1n]) {
      const error = refusal(() => headerLength(lengthField(value), 1000))
      expect(error.code).toBe('SAFETENSORS_HEADER_TOO_LARGE')
      expect(error.message).toContain(String(value))
      expect(error.message).toContain(String(MAX_HEADER_BYTES))
    }
  })

  it('is refused where the file is shorter', () => {
    const error = refusal(() => headerLength(lengthField(100n), 107))
    expect(error).toMatchObject({ code: 'SAFETENSORS_INVALID', detail: { headerBytes: 100, fileBytes: 107 } })
  })

  it('is refused where it leaves no room for an object, or is itself cut off', () => {
    expect(refusal(() => headerLength(lengthField(1n))).code).toBe('SAFETENSORS_INVALID')
    expect(refusal(() => headerLength(new Uint8Array(7))).code).toBe('SAFETENSORS_INVALID')
  })
})

describe('a valid header', () => {
  it('gives names, dtypes, shapes and absolute offsets in the order of the data', () => {
    const text =
      '{"b":{"dtype":"F16","shape":[2,3],"data_offsets":[8,20]},"__metadata__":{"format":"pt"},' +
      '"a":{"data_offsets":[0,8],"shape":[],"dtype":"I64"}}   '
    const dataStart = 8 + text.length
    expect(parse(text, 20)).toEqual({
      metadata: { format: 'pt' },
      tensors: [
        { name: 'a', dtype: 'I64', shape: [], start: dataStart, end: dataStart + 8 },
        { name: 'b', dtype: 'F16', shape: [2, 3], start: dataStart + 8, end: dataStart + 20 },
      ],
    })
  })

  it('may describe nothing at all', () => {
    expect(parse('{}')).toEqual({ tensors: [], metadata: {} })
  })

  it('may hold empty tensors anywhere', () => {
    const text =
      '{"mid":{"dtype":"F32","shape":[0,9],"data_offsets":[4,4]},"one":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},' +
      '"first":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"last":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}}'
    expect(parse(text, 5).tensors.map(({ name }) => name)).toEqual(['first', 'one', 'mid', 'last'])
  })

  it('takes names that are special only to JavaScript', () => {
    const text = `{"__metadata__":{"__proto__":"m","constructor":"c"},"__proto__":${ONE}}`
    const header = parse(text, 4)
    expect(header.tensors[0]?.name).toBe('__proto__')
    expect(Object.entries(header.metadata)).toEqual([
      ['__proto__', 'm'],
      ['constructor', 'c'],
    ])
  })

  it('without a file size is checked as far as it goes by itself', () => {
    expect(parseHeader(utf8.encode(`{"a":${ONE}}`)).tensors).toHaveLength(1)
  })
})

describe('a header that breaks a rule is refused', () => {
  const tensor = (fields: string) => `{"w":{${fields}}}`
  const offsets = (value: string) => tensor(`"dtype":"F32","shape":[1],"data_offsets":${value}`)
  const shape = (value: string) => tensor(`"dtype":"F32","shape":${value},"data_offsets":[0,4]`)
  const two = (a: string, b: string) =>
    `{"v":{"dtype":"U8","shape":[4],"data_offsets":${a}},"w":{"dtype":"U8","shape":[4],"data_offsets":${b}}}`

  it.each([
    ['space before the brace', ` {"w":${ONE}}`, /begin with '\{'.*0x20/],
    ['a byte order mark', `\ufeff{"w":${ONE}}`, /begin with '\{'.*0xef/],
    ['an array', '[]', /begin with/],
    ['no JSON', `{"w":${ONE}`, /strict JSON/],
    ['text after the object', `{"w":${ONE}}x`, /text after/],
    ['zero bytes as padding', `{"w":${ONE}}\0\0`, /text after/],
    ['a tensor twice', `{"w":${ONE},"w":${ONE}}`, /"w" given twice/],
    ['a tensor twice by way of an escape', `{"w":${ONE},"\\u0077":${ONE}}`, /"w" given twice/],
    ['a field twice', tensor('"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]'), /"dtype" given twice/],
    ['two metadata objects', `{"__metadata__":{},"__metadata__":{},"w":${ONE}}`, /given twice/],
    ['metadata that is no object', `{"__metadata__":[],"w":${ONE}}`, /__metadata__ must be an object/],
    ['metadata that is null', `{"__metadata__":null,"w":${ONE}}`, /__metadata__ must be an object/],
    ['a metadata value that is no string', `{"__metadata__":{"k":1},"w":${ONE}}`, /__metadata__ "k" must be a string/],
    ['a tensor called __metadata__', `{"__metadata__":${ONE}}`, /__metadata__ "shape" must be a string/],
    ['a description that is no object', '{"w":[1]}', /"w" must be described by an object/],
    ['no dtype', tensor('"shape":[1],"data_offsets":[0,4]'), /"w" has no dtype/],
    ['no shape', tensor('"dtype":"F32","data_offsets":[0,4]'), /"w" has no shape/],
    ['no offsets', tensor('"dtype":"F32","shape":[1]'), /"w" has no data_offsets/],
    ['a field too many', tensor('"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":0'), /"w" has fields besides/],
    ['a dtype that is no string', tensor('"dtype":1,"shape":[1],"data_offsets":[0,4]'), /"w": dtype must be a string/],
    ['a shape that is no array', shape('1'), /"w": shape must be an array/],
    ['a negative dimension', shape('[2,-1]'), /"w": dimension 1 is -1/],
    ['a fractional dimension', shape('[1.5]'), /"w": dimension 0 is 1\.5/],
    ['a dimension with a point', shape('[1.0]'), /"w": dimension 0 is 1\.0/],
    ['a dimension with an exponent', shape('[1e0]'), /"w": dimension 0 is 1e0/],
    ['a dimension of minus zero', shape('[-0]'), /"w": dimension 0 is -0/],
    ['a dimension in quotes', shape('["1"]'), /"w": dimension 0 is \\?"1/],
    ['a null dimension', shape('[null]'), /"w": dimension 0 is null/],
    ['a dimension beyond 2^53', shape('[9007199254740993]'), /"w": dimension 0 is 9007199254740993/],
    [
      'a product of dimensions beyond 2^53',
      shape('[134217728,134217728]'),
      /"w".*134217728,134217728.*more than 2\^53/,
    ],
    ['a product of bytes beyond 2^53', shape('[4503599627370496]'), /"w".*more than 2\^53/],
    ['a product that is only rescued by a later zero', shape('[134217728,134217728,0]'), /more than 2\^53/],
    ['too many dimensions', shape(`[${Array(MAX_DIMENSIONS + 1).fill(1)}]`), /"w" has 65 dimensions; at most 64/],
    ['one offset', offsets('[0]'), /"w": data_offsets must be an array of two/],
    ['three offsets', offsets('[0,4,8]'), /"w": data_offsets must be an array of two/],
    ['a negative offset', offsets('[-4,0]'), /"w": begin offset is -4/],
    ['a fractional offset', offsets('[0,4.0]'), /"w": end offset is 4\.0/],
    ['an offset beyond 2^53', offsets('[0,18446744073709551615]'), /"w": end offset is 18446744073709551615/],
    ['offsets that end before they begin', offsets('[4,0]'), /"w": offsets 4\.\.0/],
    ['fewer bytes than the shape takes', shape('[2]'), /"w": F32 of shape \[2\] takes 8 bytes.*0\.\.4 hold 4/],
    ['more bytes than the shape takes', shape('[]').replace('[0,4]', '[0,8]'), /takes 4 bytes.*hold 8/],
    ['a hole at the start', offsets('[4,8]'), /"w" leaves a hole after the header: it begins at offset 4, expected 0/],
    [
      'a hole between tensors',
      two('[0,4]', '[5,9]'),
      /"w" leaves a hole after tensor "v": it begins at offset 5, expected 4/,
    ],
    ['an overlap', two('[0,4]', '[3,7]'), /"w" overlaps tensor "v": it begins at offset 3, expected 4/],
    ['two tensors on the same bytes', two('[0,4]', '[0,4]'), /"w" overlaps tensor "v"/],
    [
      'bytes after the last tensor',
      `{"w":${ONE}} `,
      /bytes that belong to no tensor.*describes \d+ bytes, \d+ are there/,
    ],
    ['a name with NUL', `{"w\\u0000":${ONE}}`, /NUL/],
    ['a name with half a surrogate pair', `{"\\ud800":${ONE}}`, /surrogate/],
    ['nesting deeper than a header has', shape('[[[1]]]'), /nesting deeper/],
  ])('for %s', (what, text, message) => {
    const error = refusal(() => parse(text, what.startsWith('bytes after') ? 5 : 4))
    expect(error.code).toBe('SAFETENSORS_INVALID')
    expect(error.message).toMatch(message)
  })

  it('for text that is not UTF-8', () => {
    const error = refusal(() => parse(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d)))
    expect(error.message).toMatch(/UTF-8/)
  })

  it('for data that ends early, naming the first tensor that is cut', () => {
    const error = refusal(() => parse(two('[0,4]', '[4,8]'), 6))
    expect(error).toMatchObject({ code: 'SAFETENSORS_INVALID', detail: { tensor: 'w' } })
    expect(error.message).toMatch(/truncated/)
  })

  it.each(['F4', 'F6_E2M3', 'F6_E3M2', 'F128', 'f32', 'toString'])('for the dtype %s, naming the tensor', (dtype) => {
    const error = refusal(() => parse(tensor(`"dtype":"${dtype}","shape":[8],"data_offsets":[0,4]`), 4))
    expect(error.code).toBe('DTYPE_UNSUPPORTED')
    expect(error.message).toContain(`tensor "w": dtype "${dtype}"`)
  })

  it('for a name longer than any, without repeating all of it', () => {
    const error = refusal(() => parse(`{"${'n'.repeat(MAX_NAME_LENGTH + 1)}":${ONE}}`, 4))
    expect(error.message).toMatch(/2049 characters; at most 2048/)
    expect(error.message.length).toBeLessThan(400)
  })

  it('for more tensors than any model has', () => {
    const members = Array.from({ length: MAX_TENSORS + 2 }, (_, i) => `"${i}":0`)
    expect(refusal(() => parse(`{${members}}`)).message).toMatch(/more than 262145 members/)
  })

  it('for more numbers than so many tensors could need', () => {
    const error = refusal(() => parse(`{"w":[${'0,'.repeat(36 * MAX_TENSORS)}0]}`))
    expect(error.message).toMatch(/more than 9437184 values/)
  })
})

describe('a header that is written', () => {
  const tensors: TensorInfo[] = [
    { name: 'z', dtype: 'BF16', shape: [3] },
    { name: 'a"\\\n\u00e9\u{1f600}', dtype: 'F32', shape: [] },
    { name: '__proto__', dtype: 'U8', shape: [0, 4] },
  ]

  it('is read back with the order, names and metadata it was given', () => {
    const bytes = serialiseHeader(tensors, { format: 'pt', note: 'x' })
    const length = headerLength(bytes, bytes.byteLength + 10)
    expect(8 + length).toBe(bytes.byteLength)
    const header = parseHeader(bytes.subarray(8), bytes.byteLength + 10)
    expect(header.metadata).toEqual({ format: 'pt', note: 'x' })
    expect(header.tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape }))).toEqual(tensors)
  })

  it('has the bytes the format prescribes, padded with spaces to a multiple of eight', () => {
    const bytes = serialiseHeader([{ name: 'w', dtype: 'F32', shape: [2] }], {})
    const text = '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    expect(new TextDecoder().decode(bytes.subarray(8))).toBe(text.padEnd(56))
    expect([...bytes.subarray(0, 8)]).toEqual([56, 0, 0, 0, 0, 0, 0, 0])
  })

  it.each([
    [
      'a name given twice',
      [
        { name: 'w', dtype: 'F32', shape: [] },
        { name: 'w', dtype: 'F32', shape: [] },
      ],
      /twice/,
    ],
    ['a tensor called __metadata__', [{ name: '__metadata__', dtype: 'F32', shape: [] }], /may be called/],
    ['a name without UTF-8 form', [{ name: '\ud800', dtype: 'F32', shape: [] }], /surrogate/],
    ['a shape without end', [{ name: 'w', dtype: 'F32', shape: [2 ** 40, 2 ** 40] }], /more than 2\^53/],
  ] as const)('is refused for %s', (_, bad, message) => {
    const error = refusal(() => serialiseHeader(bad as unknown as TensorInfo[], {}))
    expect(error.code).toBe('SAFETENSORS_INVALID')
    expect(error.message).toMatch(message)
  })

  it('is refused for metadata without UTF-8 form', () => {
    expect(refusal(() => serialiseHeader([], { note: '\udc00' })).message).toMatch(/surrogate/)
  })
})

describe('the size of the data', () => {
  it('counts scalars as one value and empty tensors as none', () => {
    expect(
      dataBytes([
        { name: 'a', dtype: 'F64', shape: [] },
        { name: 'b', dtype: 'F16', shape: [3, 5] },
        { name: 'c', dtype: 'F32', shape: [7, 0] },
      ]),
    ).toBe(38)
  })
})
