/** 16-bit floats to f32 and back, four at a time. Like js.ts; may write up to 3 elements past n (the heap pads). */

const MAGNITUDE: u32 = 0x7fffffff;
const F32_INFINITY: u32 = 0x7f800000;

export function widenBf16(source: usize, target: usize, n: u32): void {
  for (let i: u32 = 0; i < n; i += 4) {
    const bits = v128.load64_zero(source + (<usize>i << 1));
    v128.store(target + (<usize>i << 2), i32x4.shl(i32x4.extend_low_i16x8_u(bits), 16));
  }
}

export function widenF16(source: usize, target: usize, n: u32): void {
  const magnitude = i32x4.splat(0x7fff);
  const exponentField = i32x4.splat(0x7c00);
  const rebias = i32x4.splat(112 << 23);
  const smallest = i32x4.splat(113 << 23); // 2^-14, the smallest normal f16
  for (let i: u32 = 0; i < n; i += 4) {
    const bits = i32x4.extend_low_i16x8_u(v128.load64_zero(source + (<usize>i << 1)));
    const exponent = v128.and(bits, exponentField);
    const shifted = i32x4.shl(v128.and(bits, magnitude), 13);
    const special = v128.and(i32x4.eq(exponent, exponentField), rebias);
    const normal = i32x4.add(i32x4.add(shifted, rebias), special);
    const subnormal = f32x4.sub(v128.or(shifted, smallest), smallest); // fraction * 2^-24
    const unsigned = v128.bitselect(subnormal, normal, i32x4.eq(exponent, i32x4.splat(0)));
    const sign = i32x4.shl(v128.andnot(bits, magnitude), 16);
    v128.store(target + (<usize>i << 2), v128.or(unsigned, sign));
  }
}

export function narrowBf16(source: usize, target: usize, n: u32): void {
  for (let i: u32 = 0; i < n; i += 4) {
    const bits = v128.load(source + (<usize>i << 2));
    const high = i32x4.shr_u(bits, 16);
    const odd = v128.and(high, i32x4.splat(1));
    const rounded = i32x4.shr_u(i32x4.add(i32x4.add(bits, i32x4.splat(0x7fff)), odd), 16);
    const quiet = v128.or(high, i32x4.splat(0x40));
    storeLow16(target + (<usize>i << 1), v128.bitselect(quiet, rounded, isNaNBits(bits)));
  }
}

export function narrowF16(source: usize, target: usize, n: u32): void {
  const half = f32x4.splat(0.5);
  for (let i: u32 = 0; i < n; i += 4) {
    const bits = v128.load(source + (<usize>i << 2));
    const magnitude = v128.and(bits, i32x4.splat(MAGNITUDE));
    const fraction = i32x4.shr_u(magnitude, 13);
    const odd = v128.and(fraction, i32x4.splat(1));
    const biased = i32x4.add(i32x4.sub(magnitude, i32x4.splat(0x38000000)), i32x4.add(i32x4.splat(0xfff), odd));
    const subnormal = i32x4.sub(f32x4.add(magnitude, half), half);
    let result = i32x4.shr_u(biased, 13);
    result = v128.bitselect(subnormal, result, i32x4.lt_u(magnitude, i32x4.splat(0x38800000)));
    result = v128.bitselect(i32x4.splat(0x7c00), result, i32x4.ge_u(magnitude, i32x4.splat(0x47800000)));
    const quiet = v128.or(i32x4.splat(0x7e00), v128.and(fraction, i32x4.splat(0x3ff)));
    result = v128.bitselect(quiet, result, isNaNBits(bits));
    const sign = v128.and(i32x4.shr_u(bits, 16), i32x4.splat(0x8000));
    storeLow16(target + (<usize>i << 1), v128.or(result, sign));
  }
}

// @ts-ignore: decorator
@inline
function isNaNBits(bits: v128): v128 {
  return i32x4.gt_u(v128.and(bits, i32x4.splat(MAGNITUDE)), i32x4.splat(F32_INFINITY));
}

/** The low halves of four 32-bit lanes. */
// @ts-ignore: decorator
@inline
function storeLow16(target: usize, lanes: v128): void {
  v128.store64_lane(target, v128.shuffle<i16>(lanes, lanes, 0, 2, 4, 6, 0, 2, 4, 6), 0);
}
