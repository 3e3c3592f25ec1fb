import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { memorySource } from '../../../tensors/byte-source.ts'
import { type Dtype, dtypeBytes, fromF32, isDtype, isFloating, toF32, viewAsF32 } from '../../../tensors/dtype.ts'
import { openSafetensors } from '../../../tensors/safetensors-reader.ts'

const ALL_16_BIT_CODES = Uint16Array.from({ length: 65536 }, (_, code) => code)

function bytesOf(values: ArrayBufferView): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
}

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length)
}

function f32FromBits(bits: number): Float32Array {
  return new Float32Array(new Uint32Array([bits]).buffer)
}

function codeOf(values: Float32Array, dtype: Dtype): number {
  const bytes = fromF32(values, dtype)
  return bytes[0]! | (bytes[1]! << 8)
}

/** By the definition of IEEE 754 binary16, without shifting bits into an f32. */
function f16ByDefinition(code: number): number {
  const sign = code & 0x8000 ? -1 : 1
  const exponent = (code >> 10) & 31
  const fraction = code & 1023
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25)
}

describe('widening to f32', () => {
  it('gives every f16 code its value by definition', () => {
    const values = toF32(bytesOf(ALL_16_BIT_CODES), 'F16')
    const wrong = [...ALL_16_BIT_CODES].filter((code) => !Object.is(values[code], f16ByDefinition(code)))
    expect(wrong).toEqual([])
  })

  it('gives every bf16 code the f32 whose upper half it is', () => {
    const bits = bitsOf(toF32(bytesOf(ALL_16_BIT_CODES), 'BF16'))
    const quiet = (code: number) => ((code & 0x7fff) > 0x7f80 ? 0x40 : 0)
    const wrong = [...ALL_16_BIT_CODES].filter((code) => bits[code] !== ((code | quiet(code)) << 16) >>> 0)
    expect(wrong).toEqual([])
  })

  it('leaves no signalling NaN behind, and keeps a NaN its sign', () => {
    for (const [dtype, infinity] of [
      ['F16', 0x7c00],
      ['BF16', 0x7f80],
    ] as const) {
      const bits = bitsOf(toF32(bytesOf(ALL_16_BIT_CODES), dtype))
      const wrong = [...ALL_16_BIT_CODES].filter((code) => {
        if ((code & 0x7fff) <= infinity) return false
        const quiet = (bits[code]! & 0x7fc00000) >>> 0 === 0x7fc00000
        return !quiet || bits[code]! >>> 31 !== code >> 15
      })
      expect(wrong).toEqual([])
    }
  })

  it('rounds f64 once, to nearest even', () => {
    const values = Float64Array.of(
      1 + 2 ** -24,
      1 + 3 * 2 ** -24,
      1 + 2 ** -24 + 2 ** -50,
      2 ** -150,
      1e300,
      -0,
      2 ** -149,
    )
    expect([...toF32(bytesOf(values), 'F64')]).toEqual([
      1,
      1 + 2 ** -22,
      1 + 2 ** -23,
      0,
      Number.POSITIVE_INFINITY,
      -0,
      2 ** -149,
    ])
  })

  it.each([
    ['I8', Int8Array.of(-128, -1, 127)],
    ['U8', Uint8Array.of(0, 128, 255)],
    ['I16', Int16Array.of(-32768, -1, 32767)],
    ['U16', Uint16Array.of(0, 32768, 65535)],
    ['I32', Int32Array.of(-(2 ** 31), -1, 2 ** 24)],
    ['U32', Uint32Array.of(0, 2 ** 31, 2 ** 24)],
  ] as const)('reads %s as numbers', (dtype, values) => {
    expect([...toF32(bytesOf(values), dtype)]).toEqual([...values])
  })

  it('reads 64-bit integers with their sign', () => {
    expect([...toF32(bytesOf(BigInt64Array.of(-1n, -(2n ** 63n), 5n)), 'I64')]).toEqual([-1, -(2 ** 63), 5])
    expect([...toF32(bytesOf(BigUint64Array.of(2n ** 63n, 5n)), 'U64')]).toEqual([2 ** 63, 5])
  })

  it('reads any non-zero BOOL as 1', () => {
    expect([...toF32(Uint8Array.of(0, 1, 2), 'BOOL')]).toEqual([0, 1, 1])
  })

  it.each(['F4', 'F6_E2M3', 'F6_E3M2', 'C64'] as const)('refuses %s', (dtype) => {
    expect(() => toF32(new Uint8Array(8), dtype)).toThrow(expect.objectContaining({ code: 'DTYPE_UNSUPPORTED' }))
  })

  it('refuses bytes that end within a value', () => {
    expect(() => toF32(new Uint8Array(7), 'F32')).toThrow(expect.objectContaining({ code: 'SOURCE_TRUNCATED' }))
  })
})

describe('alignment and ownership', () => {
  it.each(['F64', 'F32', 'F16', 'BF16', 'I64', 'I32', 'I16'] as const)('reads %s at every byte offset', (dtype) => {
    const size = dtypeBytes(dtype)
    const content = Uint8Array.from({ length: 5 * size }, (_, i) => (i * 37) % 64)
    const expected = toF32(content, dtype)
    for (let offset = 0; offset < 8; offset++) {
      const padded = new Uint8Array(offset + content.length)
      padded.set(content, offset)
      expect(toF32(padded.subarray(offset), dtype)).toEqual(expected)
      expect(viewAsF32(padded.subarray(offset), dtype)).toEqual(expected)
    }
  })

  it('reads a Node Buffer out of its pool', () => {
    const pooled = Buffer.from(Float32Array.of(1.5, -2).buffer)
    const buffer = Buffer.concat([Buffer.of(9), pooled]).subarray(1)
    expect([...toF32(buffer, 'F32')]).toEqual([1.5, -2])
  })

  it('never hands out the memory it was given', () => {
    const source = Float32Array.of(1, 2)
    toF32(bytesOf(source), 'F32')[0] = 9
    fromF32(source, 'F32')[3] = 9
    expect([...source]).toEqual([1, 2])
  })

  it('shares memory where a view is asked for', () => {
    const source = Float32Array.of(1, 2)
    viewAsF32(bytesOf(source), 'F32')[0] = 9
    expect(source[0]).toBe(9)
  })

  it('narrows values that lie within a larger buffer', () => {
    const values = Float32Array.of(7, 1, -2, 7).subarray(1, 3)
    for (const dtype of ['F64', 'F32', 'F16', 'BF16'] as const) {
      expect([...toF32(fromF32(values, dtype), dtype)]).toEqual([1, -2])
    }
  })
})

describe.each([
  { dtype: 'F16', infinity: 0x7c00, midpoint: f16Midpoint },
  { dtype: 'BF16', infinity: 0x7f80, midpoint: (code: number) => (code << 16) | 0x8000 },
] as const)('narrowing to $dtype', ({ dtype, infinity, midpoint }) => {
  it('gives back every code that is not NaN', () => {
    const back = new Uint16Array(fromF32(toF32(bytesOf(ALL_16_BIT_CODES), dtype), dtype).buffer)
    const wrong = [...ALL_16_BIT_CODES].filter((code) => (code & 0x7fff) <= infinity && back[code] !== code)
    expect(wrong).toEqual([])
  })

  it('gives back every NaN as a quiet one of the same sign', () => {
    const back = new Uint16Array(fromF32(toF32(bytesOf(ALL_16_BIT_CODES), dtype), dtype).buffer)
    const quietBit = dtype === 'F16' ? 0x200 : 0x40
    const wrong = [...ALL_16_BIT_CODES].filter((code) => (code & 0x7fff) > infinity && back[code] !== (code | quietBit))
    expect(wrong).toEqual([])
  })

  it('turns a NaN whose payload is cut off into a NaN, not an infinity', () => {
    for (const bits of [0x7f800001, 0xff800001, 0x7fffffff]) {
      expect(codeOf(f32FromBits(bits), dtype) & 0x7fff).toBeGreaterThan(infinity)
    }
  })

  it('breaks every tie between neighbours to the even one, and rounds either side of it to the nearer', () => {
    const bits = new Uint32Array(3 * infinity)
    for (let code = 0; code < infinity; code++) {
      const tie = midpoint(code)
      bits.set([tie - 1, tie, tie + 1], 3 * code)
    }
    for (const sign of [0, 1]) {
      const signed = bits.map((value) => value + sign * 0x80000000)
      const codes = new Uint16Array(fromF32(new Float32Array(signed.buffer), dtype).buffer)
      const wrong: number[] = []
      for (let code = 0; code < infinity; code++) {
        const expected = [code, code + (code & 1), code + 1].map((value) => value + sign * 0x8000)
        if (expected.some((value, i) => codes[3 * code + i] !== value)) wrong.push(code)
      }
      expect(wrong).toEqual([])
    }
  })
})

/** f32 bits halfway between an f16 code and the next; 65520, from where all is infinity, after the largest. */
function f16Midpoint(code: number): number {
  const next = code === 0x7bff ? 65536 : f16ByDefinition(code + 1)
  return bitsOf(Float32Array.of((f16ByDefinition(code) + next) / 2))[0]!
}

describe('agreement with PyTorch', async () => {
  const file = await openSafetensors(
    memorySource(readFileSync(new URL('../../fixtures/tensors/dtypes.safetensors', import.meta.url))),
  )

  it.each(['F8_E4M3', 'F8_E5M2', 'F8_E8M0', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ'] as const)(
    'reads all 256 codes of %s as torch does',
    async (dtype) => {
      const ours = toF32(await file.readBytes(`codes.${dtype}`), dtype)
      const theirs = await file.read(`values.${dtype}`)
      expect(ours.length).toBe(256)
      expect([...ours.keys()].filter((code) => !Object.is(ours[code], theirs[code]))).toEqual([])
    },
  )

  it.each(['F16', 'BF16'] as const)('rounds thousands of values to %s as torch does', async (dtype) => {
    const input = await file.read('narrow.input')
    expect(input.length).toBeGreaterThan(3900)
    expect(Buffer.from(fromF32(input, dtype)).equals(await file.readBytes(`narrow.${dtype}`))).toBe(true)
  })
})

describe('the dtype table', () => {
  it('knows the names of the format and no others', () => {
    expect(['F64', 'BF16', 'F8_E8M0', 'F6_E3M2', 'F4', 'C64', 'BOOL'].every(isDtype)).toBe(true)
    expect(['f32', 'F128', '', 'toString', '__proto__'].some(isDtype)).toBe(false)
  })

  it('calls floating what can be written from f32', () => {
    for (const dtype of ['F64', 'F32', 'F16', 'BF16', 'I32', 'U8', 'F8_E4M3', 'C64', 'BOOL'] as const) {
      const write = () => fromF32(Float32Array.of(1), dtype)
      if (isFloating(dtype)) expect(toF32(write(), dtype)[0]).toBe(1)
      else expect(write).toThrow(expect.objectContaining({ code: 'DTYPE_UNSUPPORTED' }))
    }
  })

  it('has no byte size for formats that pack several values into a byte', () => {
    expect(() => dtypeBytes('F4')).toThrow(expect.objectContaining({ code: 'DTYPE_UNSUPPORTED' }))
  })
})
