/** Moments and histograms of f32 values, and the selection of the entries that a threshold keeps. */

const MAGNITUDE: u32 = 0x7fffffff;
const F32_INFINITY: u32 = 0x7f800000;

/**
 * Adds n values to the state: 4 lanes each of the sum, the sum of squares, the sum of magnitudes (12 f64).
 * Value i goes to lane i mod 4. Returns the index of the first NaN or Inf, or -1.
 */
export function moments(x: usize, n: u32, state: usize): i32 {
  let sum01 = v128.load(state), sum23 = v128.load(state, 16);
  let square01 = v128.load(state, 32), square23 = v128.load(state, 48);
  let size01 = v128.load(state, 64), size23 = v128.load(state, 80);
  let nonFinite: i32 = -1;
  let i: u32 = 0;
  for (; i + 4 <= n; i += 4) {
    const values = v128.load(x + (<usize>i << 2));
    const low = f64x2.promote_low_f32x4(values);
    const high = f64x2.promote_low_f32x4(v128.shuffle<i32>(values, values, 2, 3, 2, 3));
    sum01 = f64x2.add(sum01, low);
    sum23 = f64x2.add(sum23, high);
    square01 = f64x2.add(square01, f64x2.mul(low, low));
    square23 = f64x2.add(square23, f64x2.mul(high, high));
    size01 = f64x2.add(size01, f64x2.abs(low));
    size23 = f64x2.add(size23, f64x2.abs(high));
    const bad = i32x4.ge_s(v128.and(values, i32x4.splat(MAGNITUDE)), i32x4.splat(F32_INFINITY));
    if (v128.any_true(bad)) if (nonFinite < 0) nonFinite = i + ctz(i32x4.bitmask(bad));
  }
  v128.store(state, sum01);
  v128.store(state, sum23, 16);
  v128.store(state, square01, 32);
  v128.store(state, square23, 48);
  v128.store(state, size01, 64);
  v128.store(state, size23, 80);
  for (; i < n; i++) {
    const value = <f64>load<f32>(x + (<usize>i << 2));
    const lane = state + (<usize>(i & 3) << 3);
    store<f64>(lane, load<f64>(lane) + value);
    store<f64>(lane, load<f64>(lane, 32) + value * value, 32);
    store<f64>(lane, load<f64>(lane, 64) + Math.abs(value), 64);
    if (nonFinite < 0 && (load<u32>(x + (<usize>i << 2)) & MAGNITUDE) >= F32_INFINITY) nonFinite = i;
  }
  return nonFinite;
}

const HIGH_TABLE: usize = 32768 * 4;

/**
 * Adds to four tables of 32768 u32, side by side, the histogram of bits 30..16: neighbouring values go to different
 * tables, so that equal ones do not wait for each other.
 */
export function histogramHigh(x: usize, n: u32, tables: usize): void {
  let i: u32 = 0;
  for (; i + 4 <= n; i += 4) {
    const p = x + (<usize>i << 2);
    countHigh(load<u32>(p), tables);
    countHigh(load<u32>(p, 4), tables + HIGH_TABLE);
    countHigh(load<u32>(p, 8), tables + 2 * HIGH_TABLE);
    countHigh(load<u32>(p, 12), tables + 3 * HIGH_TABLE);
  }
  for (; i < n; i++) countHigh(load<u32>(x + (<usize>i << 2)), tables);
}

// @ts-ignore: decorator
@inline
function countHigh(bits: u32, table: usize): void {
  count(table + (<usize>((bits & MAGNITUDE) >> 16) << 2));
}

// @ts-ignore: decorator
@inline
function count(bin: usize): void {
  store<u32>(bin, load<u32>(bin) + 1);
}

/** Sums the four tables of histogramHigh into the first. */
export function joinHighTables(tables: usize): void {
  for (let p = tables; p < tables + HIGH_TABLE; p += 16) {
    const a = i32x4.add(v128.load(p), v128.load(p + HIGH_TABLE));
    const b = i32x4.add(v128.load(p + 2 * HIGH_TABLE), v128.load(p + 3 * HIGH_TABLE));
    v128.store(p, i32x4.add(a, b));
  }
}

/** Adds to a table of 65536 u32 the histogram of bits 15..0 of the values whose bits 30..16 are `high`. */
export function histogramLow(x: usize, n: u32, high: u32, table: usize): void {
  const wanted = i32x4.splat(high << 16);
  const mask = i32x4.splat(0x7fff0000);
  let i: u32 = 0;
  for (; i + 16 <= n; i += 16) {
    const p = x + (<usize>i << 2);
    const a = i32x4.eq(v128.and(v128.load(p), mask), wanted);
    const b = i32x4.eq(v128.and(v128.load(p, 16), mask), wanted);
    const c = i32x4.eq(v128.and(v128.load(p, 32), mask), wanted);
    const d = i32x4.eq(v128.and(v128.load(p, 48), mask), wanted);
    if (!v128.any_true(v128.or(v128.or(a, b), v128.or(c, d)))) continue;
    for (let hits = mask16(a, b, c, d); hits; hits &= hits - 1) count(table + lowBin(p + (<usize>ctz(hits) << 2)));
  }
  for (; i < n; i++) {
    const p = x + (<usize>i << 2);
    if ((load<u32>(p) & MAGNITUDE) >> 16 == high) count(table + lowBin(p));
  }
}

// @ts-ignore: decorator
@inline
function lowBin(p: usize): usize {
  return <usize>load<u16>(p) << 2;
}

/** One bit for each of 16 lanes that are all ones or all zeros. */
// @ts-ignore: decorator
@inline
function mask16(a: v128, b: v128, c: v128, d: v128): u32 {
  return i8x16.bitmask(i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d)));
}

/** Ties that `select` may still keep; set before the first chunk. */
export let tiesLeft: u32 = 0;
export function setTies(ties: u32): void {
  tiesLeft = ties;
}

/**
 * Appends to `out` (first + i) | sign of the values with bits 30..0 above `threshold` and, while there are ties left,
 * equal to it. Returns how many. With threshold 0 the ties must be 0: zeros are never kept.
 */
export function select(x: usize, n: u32, first: u32, threshold: u32, out: usize): u32 {
  const magnitude = i32x4.splat(MAGNITUDE);
  let target = out;
  let i: u32 = 0;
  for (; i + 16 <= n; i += 16) {
    const limit = i32x4.splat(tiesLeft ? threshold - 1 : threshold);
    const p = x + (<usize>i << 2);
    const a = i32x4.gt_s(v128.and(v128.load(p), magnitude), limit);
    const b = i32x4.gt_s(v128.and(v128.load(p, 16), magnitude), limit);
    const c = i32x4.gt_s(v128.and(v128.load(p, 32), magnitude), limit);
    const d = i32x4.gt_s(v128.and(v128.load(p, 48), magnitude), limit);
    if (!v128.any_true(v128.or(v128.or(a, b), v128.or(c, d)))) continue;
    for (let hits = mask16(a, b, c, d); hits; hits &= hits - 1) {
      const at = ctz(hits);
      target = keep(load<u32>(p + (<usize>at << 2)), first + i + at, threshold, target);
    }
  }
  for (; i < n; i++) {
    const bits = load<u32>(x + (<usize>i << 2));
    if ((bits & MAGNITUDE) >= threshold && bits & MAGNITUDE) target = keep(bits, first + i, threshold, target);
  }
  return <u32>((target - out) >> 2);
}

// @ts-ignore: decorator
@inline
function keep(bits: u32, index: u32, threshold: u32, target: usize): usize {
  if ((bits & MAGNITUDE) == threshold) {
    if (!tiesLeft) return target;
    tiesLeft--;
  }
  store<u32>(target, index | (bits & 0x80000000));
  return target + 4;
}

/**
 * The entries with bits 30..0 of at least `lowest` (> 0): to `entries` (first + i) | sign, to `magnitudes` those bits.
 * Returns how many.
 */
export function collect(x: usize, n: u32, first: u32, lowest: u32, entries: usize, magnitudes: usize): u32 {
  const magnitude = i32x4.splat(MAGNITUDE);
  const limit = i32x4.splat(lowest - 1);
  let target: usize = 0;
  let i: u32 = 0;
  for (; i + 16 <= n; i += 16) {
    const p = x + (<usize>i << 2);
    const a = i32x4.gt_s(v128.and(v128.load(p), magnitude), limit);
    const b = i32x4.gt_s(v128.and(v128.load(p, 16), magnitude), limit);
    const c = i32x4.gt_s(v128.and(v128.load(p, 32), magnitude), limit);
    const d = i32x4.gt_s(v128.and(v128.load(p, 48), magnitude), limit);
    if (!v128.any_true(v128.or(v128.or(a, b), v128.or(c, d)))) continue;
    for (let hits = mask16(a, b, c, d); hits; hits &= hits - 1) {
      const at = ctz(hits);
      const bits = load<u32>(p + (<usize>at << 2));
      store<u32>(entries + target, (first + i + at) | (bits & ~MAGNITUDE));
      store<u32>(magnitudes + target, bits & MAGNITUDE);
      target += 4;
    }
  }
  for (; i < n; i++) {
    const bits = load<u32>(x + (<usize>i << 2));
    if ((bits & MAGNITUDE) < lowest) continue;
    store<u32>(entries + target, (first + i) | (bits & ~MAGNITUDE));
    store<u32>(magnitudes + target, bits & MAGNITUDE);
    target += 4;
  }
  return <u32>(target >> 2);
}

/** Adds to rowCounts and colCounts (u32) the entries of each row and column. Entries ascend by index. */
export function marginals(positions: usize, count: u32, cols: u32, rowCounts: usize, colCounts: usize): void {
  const end = positions + (<usize>count << 2);
  let row = rowCounts;
  let rowStart: u32 = 0;
  let inRow: u32 = 0;
  for (let p = positions; p < end; p += 4) {
    const index = load<u32>(p) & MAGNITUDE;
    if (index - rowStart >= cols) {
      store<u32>(row, load<u32>(row) + inRow);
      inRow = 0;
      do {
        row += 4;
        rowStart += cols;
      } while (index - rowStart >= cols);
    }
    inRow++;
    const column = colCounts + (<usize>(index - rowStart) << 2);
    store<u32>(column, load<u32>(column) + 1);
  }
  store<u32>(row, load<u32>(row) + inRow);
}
