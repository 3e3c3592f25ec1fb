/**
 * Trits as numbers: decoded strata written into a frame of values, or added to one. The readable twin is
 * codecs/trit-values.ts. An entry is a cell of the part with the sign in bit 31; `pairs` holds, for each scale, the
 * 32 bits that stand for +1 and those that stand for -1.
 */

const CELL: u32 = 0x7fffffff;
const MAGNITUDE: u32 = 0x7fffffff;
const F32_INFINITY: u32 = 0x7f800000;
const CANONICAL_NAN: u32 = 0x7fc00000;

/** Which scale an entry has. Numbered like AXES in codecs/sgr-wasm.ts. */
const BY_ROW: u32 = 1;

/** What happens to an entry. Numbered like SINKS in codecs/sgr-wasm.ts. */
const WRITE_16: u32 = 0;
const WRITE_32: u32 = 1;
const ADD_BF16: u32 = 2;
const ADD_F16: u32 = 3;

/**
 * Turns the indices of a stratum into cells of its part, in place. `rows` are the starts of the stratum's rows,
 * `columns` its `width` columns. With `groups`, writes there the row or column of each (u32).
 */
export function placeStratum(
  indices: usize, count: u32, rows: usize, columns: usize, width: u32, cols: u32, axis: u32, groups: usize,
): void {
  let row = rows;
  let rowStart = load<u32>(row);
  let rowEnd = width; // index of the first entry after the current row
  const end = indices + (<usize>count << 2);
  let group = groups;
  for (let p = indices; p < end; p += 4) {
    const entry = load<u32>(p);
    const index = entry & CELL;
    if (index >= rowEnd) {
      do {
        row += 4;
        rowEnd += width;
      } while (index >= rowEnd);
      rowStart = load<u32>(row);
    }
    const column = load<u32>(columns + (<usize>(index + width - rowEnd) << 2));
    store<u32>(p, (rowStart + column) | (entry & ~CELL));
    if (groups) {
      store<u32>(group, axis == BY_ROW ? rowStart / cols : column);
      group += 4;
    }
  }
}

/** Rows (from 0) or columns of the ascending cells of a part that begins at column `firstColumn`. */
export function groupsOfRun(cells: usize, count: u32, cols: u32, firstColumn: u32, axis: u32, groups: usize): void {
  let row: u32 = 0;
  let rowEnd = cols - firstColumn;
  for (let i: usize = 0; i < <usize>count << 2; i += 4) {
    const cell = load<u32>(cells + i) & CELL;
    for (; cell >= rowEnd; rowEnd += cols) row++;
    store<u32>(groups + i, axis == BY_ROW ? row : cell + cols - rowEnd);
  }
}

/** Applies the entries to `out`. `groups` 0: all have the first pair. */
export function applyTrits(entries: usize, count: u32, groups: usize, pairs: usize, sink: u32, out: usize): void {
  if (sink == WRITE_16) groups ? apply(entries, count, groups, pairs, 0, out) : apply(entries, count, 0, pairs, 0, out);
  else if (sink == WRITE_32) groups ? apply(entries, count, groups, pairs, 1, out) : apply(entries, count, 0, pairs, 1, out);
  else if (sink == ADD_BF16) groups ? apply(entries, count, groups, pairs, 2, out) : apply(entries, count, 0, pairs, 2, out);
  else if (sink == ADD_F16) groups ? apply(entries, count, groups, pairs, 3, out) : apply(entries, count, 0, pairs, 3, out);
  else groups ? apply(entries, count, groups, pairs, 4, out) : apply(entries, count, 0, pairs, 4, out);
}

/** Inlined with constants for `sink` and a `groups` of 0, so that each call is a loop without choices. */
// @ts-ignore: decorator
@inline
function apply(entries: usize, count: u32, groups: usize, pairs: usize, sink: u32, out: usize): void {
  const end = entries + (<usize>count << 2);
  let group = groups;
  for (let p = entries; p < end; p += 4) {
    const entry = load<u32>(p);
    const cell = <usize>(entry & CELL);
    let pair = pairs + (<usize>(entry >> 31) << 2);
    if (groups) {
      pair += <usize>load<u32>(group) << 3;
      group += 4;
    }
    if (sink == WRITE_16) store<u16>(out + (cell << 1), load<u16>(pair));
    else if (sink == WRITE_32) store<u32>(out + (cell << 2), load<u32>(pair));
    else if (sink == ADD_BF16) addBf16(out + (cell << 1), load<f32>(pair));
    else if (sink == ADD_F16) addF16(out + (cell << 1), load<f32>(pair));
    else addF32(out + (cell << 2), load<f32>(pair));
  }
}

// @ts-ignore: decorator
@inline
function addF32(at: usize, value: f32): void {
  const sum = load<f32>(at) + value;
  store<u32>(at, sum != sum ? CANONICAL_NAN : reinterpret<u32>(sum));
}

// @ts-ignore: decorator
@inline
function addBf16(at: usize, value: f32): void {
  const sum = reinterpret<f32>(<u32>load<u16>(at) << 16) + value;
  const bits = reinterpret<u32>(sum);
  store<u16>(at, sum != sum ? CANONICAL_NAN >> 16 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// @ts-ignore: decorator
@inline
function addF16(at: usize, value: f32): void {
  store<u16>(at, narrow(widen(<u32>load<u16>(at)) + value));
}

function widen(half: u32): f32 {
  const magnitude = half & 0x7fff;
  const sign = (half & 0x8000) << 16;
  if (magnitude < 0x400) return reinterpret<f32>(sign | reinterpret<u32>(<f32>magnitude * <f32>5.9604644775390625e-8));
  const special: u32 = magnitude >= 0x7c00 ? 112 << 23 : 0;
  return reinterpret<f32>(sign | ((magnitude << 13) + (112 << 23) + special));
}

function narrow(value: f32): u32 {
  if (value != value) return 0x7e00;
  const bits = reinterpret<u32>(value);
  const sign = (bits >> 16) & 0x8000;
  const magnitude = bits & MAGNITUDE;
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude < 0x38800000) return sign | (reinterpret<u32>(reinterpret<f32>(magnitude) + <f32>0.5) - 0x3f000000);
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13);
}

/** Fills n values of 16 bits. May write up to 7 past the end. */
export function fill16(out: usize, n: u32, bits: u32): void {
  const value = i16x8.splat(<i16>bits);
  for (let p = out; p < out + (<usize>n << 1); p += 16) v128.store(p, value);
}

/** Fills n values of 32 bits. May write up to 3 past the end. */
export function fill32(out: usize, n: u32, bits: u32): void {
  const value = i32x4.splat(bits);
  for (let p = out; p < out + (<usize>n << 2); p += 16) v128.store(p, value);
}

/**
 * Sets the quiet bit of every NaN among n 16-bit floats: what widening and narrowing leave of a value. `infinity` and
 * `quiet` are the format's. Also brings the values into the cache, in order, before they are changed here and there.
 */
export function quieten16(values: usize, n: u32, infinity: u32, quiet: u32): void {
  const limit = i16x8.splat(<i16>infinity);
  const bit = i16x8.splat(<i16>quiet);
  const magnitude = i16x8.splat(0x7fff);
  for (let p = values; p < values + (<usize>n << 1); p += 16) {
    const bits = v128.load(p);
    const isNaN = i16x8.gt_s(v128.and(bits, magnitude), limit);
    if (v128.any_true(isNaN)) v128.store(p, v128.or(bits, v128.and(isNaN, bit)));
  }
}
