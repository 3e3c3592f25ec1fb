/**
 * The dtypes of the safetensors format and the conversions between their bytes and f32. Narrowing rounds once, to
 * nearest, ties to even; subnormals, infinities and the sign of zero survive; a NaN stays a NaN of the same sign and
 * leaves as a quiet one.
 */
import { TensorError } from './errors.ts'

/** Bits of one value. The names are those of the safetensors header. */
const DTYPE_BITS = {
  F64: 64,
  F32: 32,
  F16: 16,
  BF16: 16,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F4: 4,
  C64: 64,
  I64: 64,
  I32: 32,
  I16: 16,
  I8: 8,
  U64: 64,
  U32: 32,
  U16: 16,
  U8: 8,
  BOOL: 8,
} as const

export type Dtype = keyof typeof DTYPE_BITS

// Everything below moves numbers through typed arrays, which use the machine's own byte order.
if (new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1) throw new Error('Tern runs on little-endian machines only')

export function isDtype(name: string): name is Dtype {
  return Object.hasOwn(DTYPE_BITS, name)
}

/** Several values share a byte: recognised, but nothing in Tern can address a single value of these. */
export function isSubByte(dtype: Dtype): boolean {
  return DTYPE_BITS[dtype] < 8
}

/** Bytes of one value. Throws DTYPE_UNSUPPORTED for the sub-byte formats. */
export function dtypeBytes(dtype: Dtype): number {
  if (isSubByte(dtype)) throw unsupported(dtype, `packs ${DTYPE_BITS[dtype]} bits per value`)
  return DTYPE_BITS[dtype] / 8
}

/** The formats that weights are trained and merged in: those `fromF32` can write. */
export function isFloating(dtype: Dtype): boolean {
  return dtype === 'F32' || dtype === 'BF16' || dtype === 'F16' || dtype === 'F64'
}

/**
 * Row-major values as a fresh Float32Array. F16, BF16 and F8 widen exactly; F64 is rounded once; integers become the
 * nearest number (64-bit ones by way of f64); BOOL becomes 0 or 1. `bytes` may start at any alignment.
 * Throws DTYPE_UNSUPPORTED for complex and sub-byte formats, SOURCE_TRUNCATED for a length that is no whole number of values.
 */
export function toF32(bytes: Uint8Array, dtype: Dtype): Float32Array {
  const size = dtypeBytes(dtype)
  if (bytes.byteLength % size !== 0) {
    throw new TensorError('SOURCE_TRUNCATED', `${bytes.byteLength} bytes are no whole number of ${dtype} values`, {
      bytes: bytes.byteLength,
      dtype,
    })
  }
  switch (dtype) {
    case 'F32':
      return new Float32Array(new Uint8Array(bytes).buffer)
    case 'BF16':
      return widenBf16(new Uint16Array(...view(bytes, 2)))
    case 'F16':
      return lookUp(new Uint16Array(...view(bytes, 2)), f16Table())
    case 'F64':
      return new Float32Array(new Float64Array(...view(bytes, 8)))
    case 'I64':
      return widenWide(new Uint32Array(...view(bytes, 4)), 0x80000000)
    case 'U64':
      return widenWide(new Uint32Array(...view(bytes, 4)), Number.POSITIVE_INFINITY)
    case 'I32':
      return new Float32Array(new Int32Array(...view(bytes, 4)))
    case 'U32':
      return new Float32Array(new Uint32Array(...view(bytes, 4)))
    case 'I16':
      return new Float32Array(new Int16Array(...view(bytes, 2)))
    case 'U16':
      return new Float32Array(new Uint16Array(...view(bytes, 2)))
    case 'I8':
      return new Float32Array(new Int8Array(...view(bytes, 1)))
    case 'U8':
      return new Float32Array(bytes)
    case 'BOOL':
      return Float32Array.from(bytes, (byte) => (byte === 0 ? 0 : 1))
    case 'F8_E4M3':
    case 'F8_E5M2':
    case 'F8_E8M0':
    case 'F8_E4M3FNUZ':
    case 'F8_E5M2FNUZ':
      return lookUp(bytes, f8Table(dtype))
    default:
      throw unsupported(dtype, 'has no real value per entry')
  }
}

/**
 * As `toF32`, but F32 bytes that happen to be aligned are returned as a view of the same memory. For bytes that
 * nobody else holds.
 */
export function viewAsF32(bytes: Uint8Array, dtype: Dtype): Float32Array {
  if (dtype !== 'F32' || bytes.byteOffset % 4 !== 0 || bytes.byteLength % 4 !== 0) return toF32(bytes, dtype)
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
}

/** Little-endian bytes of F64, F32, F16 or BF16, in fresh memory. Throws DTYPE_UNSUPPORTED for any other dtype. */
export function fromF32(values: Float32Array, dtype: Dtype): Uint8Array {
  switch (dtype) {
    case 'F32':
      return new Uint8Array(values.slice().buffer)
    case 'F64':
      return new Uint8Array(new Float64Array(values).buffer)
    case 'BF16':
      return narrowToBf16(values)
    case 'F16':
      return narrowToF16(values)
    default:
      throw unsupported(dtype, 'is not written from f32; F64, F32, F16 and BF16 are')
  }
}

function unsupported(dtype: Dtype, why: string): TensorError {
  return new TensorError('DTYPE_UNSUPPORTED', `dtype ${dtype} ${why}`, { dtype })
}

/** The same bytes at an offset a typed array of `size`-byte values accepts; copied only where they are not. */
function aligned(bytes: Uint8Array, size: number): Uint8Array {
  // The constructor always copies; `slice` of a Node Buffer would be a view.
  return bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes)
}

/** Constructor arguments of a typed array over `bytes`. */
function view(bytes: Uint8Array, size: number): [ArrayBufferLike, number, number] {
  const source = aligned(bytes, size)
  return [source.buffer, source.byteOffset, source.byteLength / size]
}

function lookUp(codes: Uint8Array | Uint16Array, table: Float32Array): Float32Array {
  // Through u32 so that a NaN's bits cannot change on the way through a floating-point register.
  const bits = new Uint32Array(table.buffer)
  const out = new Uint32Array(codes.length)
  for (let i = 0; i < codes.length; i++) out[i] = bits[codes[i]!]!
  return new Float32Array(out.buffer)
}

function widenBf16(codes: Uint16Array): Float32Array {
  const out = new Uint32Array(codes.length)
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i]!
    out[i] = (code & 0x7fff) > 0x7f80 ? (code << 16) | 0x400000 : code << 16
  }
  return new Float32Array(out.buffer)
}

/** 64-bit integers as pairs of low and high words; a high word from `negativeFrom` on carries a sign. */
function widenWide(words: Uint32Array, negativeFrom: number): Float32Array {
  const out = new Float32Array(words.length / 2)
  for (let i = 0; i < out.length; i++) {
    const high = words[2 * i + 1]!
    out[i] = (high >= negativeFrom ? high - 2 ** 32 : high) * 2 ** 32 + words[2 * i]!
  }
  return out
}

function narrowToBf16(values: Float32Array): Uint8Array {
  const codes = new Uint16Array(values.length)
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!
    const isNan = (word & 0x7fffffff) > 0x7f800000
    // Half a unit less one, plus the bit that will be last, carries exactly where nearest-even rounds up.
    codes[i] = isNan ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16
  }
  return new Uint8Array(codes.buffer)
}

function narrowToF16(values: Float32Array): Uint8Array {
  const codes = new Uint16Array(values.length)
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!
    const magnitude = word & 0x7fffffff
    // Normal in f16, as nearly all weights are: rebias the exponent by 112 and round off 13 bits.
    codes[i] =
      magnitude >= 0x38800000 && magnitude < 0x477ff000
        ? ((word >>> 16) & 0x8000) | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
        : roundToExtremeF16(word)
  }
  return new Uint8Array(codes.buffer)
}

/** f32 bits to the nearest f16 bits, for what is no normal number there. */
function roundToExtremeF16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x1ff)
  if (magnitude >= 0x477ff000) return sign | 0x7c00 // from 65520 on, halfway to 2^16, all is infinity
  if (magnitude <= 0x33000000) return sign // up to 2^-25, halfway to the smallest subnormal: the tie goes to zero
  // Subnormal in f16: count units of 2^-24. The mantissa with its hidden bit is shifted by 14 to 24 places.
  const mantissa = (magnitude & 0x7fffff) | 0x800000
  const shift = 126 - (magnitude >>> 23)
  const kept = mantissa >>> shift
  const rest = mantissa & ((1 << shift) - 1)
  const half = 1 << (shift - 1)
  return sign | (rest > half || (rest === half && (kept & 1) === 1) ? kept + 1 : kept)
}

let f16Values: Float32Array | undefined

/** The value of every f16 code: 256 KiB, built on first use. */
function f16Table(): Float32Array {
  f16Values ??= smallFloatTable({ bits: 16, mantissaBits: 10, bias: 15, special: 'ieee' })
  return f16Values
}

type EightBitFloat = 'F8_E4M3' | 'F8_E5M2' | 'F8_E8M0' | 'F8_E4M3FNUZ' | 'F8_E5M2FNUZ'

/**
 * How a format spends its codes. `ieee`: the top exponent is infinity and NaN. `fn`: no infinity, only the all-ones
 * code of either sign is NaN. `fnuz`: no infinity, no negative zero; the code of -0 is the one NaN.
 * Sources: "FP8 Formats for Deep Learning" (Micikevicius et al. 2022) for E4M3 and E5M2; "8-bit Numerical Formats for
 * Deep Neural Networks" (Noune et al. 2022) for FNUZ; OCP Microscaling Formats 1.0, section 5.4, for E8M0.
 */
interface SmallFloat {
  readonly bits: 8 | 16
  readonly mantissaBits: number
  readonly bias: number
  readonly special: 'ieee' | 'fn' | 'fnuz'
}

const F8_FORMATS: Readonly<Record<Exclude<EightBitFloat, 'F8_E8M0'>, SmallFloat>> = {
  F8_E4M3: { bits: 8, mantissaBits: 3, bias: 7, special: 'fn' },
  F8_E5M2: { bits: 8, mantissaBits: 2, bias: 15, special: 'ieee' },
  F8_E4M3FNUZ: { bits: 8, mantissaBits: 3, bias: 8, special: 'fnuz' },
  F8_E5M2FNUZ: { bits: 8, mantissaBits: 2, bias: 16, special: 'fnuz' },
}

function f8Table(dtype: EightBitFloat): Float32Array {
  if (dtype !== 'F8_E8M0') return smallFloatTable(F8_FORMATS[dtype])
  // A bare exponent: 2^(code - 127), and NaN for 255.
  return Float32Array.from({ length: 256 }, (_, code) => (code === 255 ? Number.NaN : 2 ** (code - 127)))
}

function smallFloatTable(format: SmallFloat): Float32Array {
  const table = new Float32Array(2 ** format.bits)
  const bits = new Uint32Array(table.buffer)
  for (let code = 0; code < table.length; code++) {
    const nan = nanBits(code, format)
    if (nan !== undefined) bits[code] = nan
    else table[code] = smallFloatValue(code, format)
  }
  return table
}

/** f32 bits of a code that is NaN: its sign, a set quiet bit, and for IEEE formats the payload. */
function nanBits(code: number, { bits, mantissaBits, special }: SmallFloat): number | undefined {
  const signBit = 2 ** (bits - 1)
  const magnitude = code % signBit
  if (special === 'fnuz') return code === signBit ? 0x7fc00000 : undefined
  const sign = code >= signBit ? 0x80000000 : 0
  if (special === 'fn') return magnitude === signBit - 1 ? sign + 0x7fc00000 : undefined
  const infinity = signBit - 2 ** mantissaBits
  if (magnitude <= infinity) return undefined
  const payload = (magnitude - infinity) << (23 - mantissaBits)
  return sign + ((0x7f800000 | payload | 0x400000) >>> 0)
}

function smallFloatValue(code: number, { bits, mantissaBits, bias, special }: SmallFloat): number {
  const signBit = 2 ** (bits - 1)
  const sign = code >= signBit ? -1 : 1
  const magnitude = code % signBit
  const exponent = magnitude >> mantissaBits
  const fraction = (magnitude % 2 ** mantissaBits) / 2 ** mantissaBits
  if (special === 'ieee' && magnitude === signBit - 2 ** mantissaBits) return sign * Number.POSITIVE_INFINITY
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias)
  return sign * (1 + fraction) * 2 ** (exponent - bias)
}
