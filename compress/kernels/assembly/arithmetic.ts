/** Elementwise f32 arithmetic, four at a time. NaN results are stored as 0x7fc00000. May write past n up to 3 elements. */

// @ts-ignore: decorator
@inline
export function canonical(values: v128): v128 {
  return v128.bitselect(values, i32x4.splat(0x7fc00000), f32x4.eq(values, values));
}

export function subtract(acc: usize, base: usize, n: u32): void {
  for (let i: usize = 0; i < <usize>n << 2; i += 16) {
    v128.store(acc + i, canonical(f32x4.sub(v128.load(acc + i), v128.load(base + i))));
  }
}

export function axpy(acc: usize, x: usize, n: u32, weight: f32): void {
  const factor = f32x4.splat(weight);
  for (let i: usize = 0; i < <usize>n << 2; i += 16) {
    const product = f32x4.mul(factor, v128.load(x + i));
    v128.store(acc + i, canonical(f32x4.add(v128.load(acc + i), product)));
  }
}

/**
 * out(m x n) += factor * a(m x k) . b(k x n), all row-major and dense. Sums run over k in order, one product and one
 * addition rounded at a time; SIMD lanes are columns.
 */
export function matmulAdd(out: usize, a: usize, b: usize, m: u32, k: u32, n: u32, factor: f32): void {
  const wide = n & ~15;
  for (let first: u32 = 0; first < wide; first += TILE_COLUMNS) {
    const last = min(first + TILE_COLUMNS, wide);
    let i: u32 = 0;
    for (; i + 2 <= m; i += 2) {
      for (let j = first; j < last; j += 16) twoRows(out, a, b, i, j, k, n, factor);
    }
    if (i < m) for (let j = first; j < last; j += 16) oneRow(out, a, b, i, j, k, n, factor);
  }
  for (let i: u32 = 0; i < m; i++) {
    for (let j = wide; j < n; j++) oneEntry(out, a, b, i, j, k, n, factor);
  }
}

/** Columns worked on before the next rows: k rows of b this wide stay in the first cache levels. */
const TILE_COLUMNS: u32 = 256;

// @ts-ignore: decorator
@inline
function twoRows(out: usize, a: usize, b: usize, i: u32, j: u32, k: u32, n: u32, factor: f32): void {
  let p0 = f32x4.splat(0), p1 = p0, p2 = p0, p3 = p0, q0 = p0, q1 = p0, q2 = p0, q3 = p0;
  let right = b + (<usize>j << 2);
  const upper = a + ((<usize>i * k) << 2);
  const lower = upper + (<usize>k << 2);
  for (let l: usize = 0; l < <usize>k << 2; l += 4) {
    const b0 = v128.load(right), b1 = v128.load(right, 16), b2 = v128.load(right, 32), b3 = v128.load(right, 48);
    right += <usize>n << 2;
    const u = v128.load32_splat(upper + l);
    p0 = f32x4.add(p0, f32x4.mul(u, b0));
    p1 = f32x4.add(p1, f32x4.mul(u, b1));
    p2 = f32x4.add(p2, f32x4.mul(u, b2));
    p3 = f32x4.add(p3, f32x4.mul(u, b3));
    const v = v128.load32_splat(lower + l);
    q0 = f32x4.add(q0, f32x4.mul(v, b0));
    q1 = f32x4.add(q1, f32x4.mul(v, b1));
    q2 = f32x4.add(q2, f32x4.mul(v, b2));
    q3 = f32x4.add(q3, f32x4.mul(v, b3));
  }
  const scale = f32x4.splat(factor);
  const target = out + ((<usize>i * n + j) << 2);
  accumulate(target, p0, scale);
  accumulate(target + 16, p1, scale);
  accumulate(target + 32, p2, scale);
  accumulate(target + 48, p3, scale);
  const below = target + (<usize>n << 2);
  accumulate(below, q0, scale);
  accumulate(below + 16, q1, scale);
  accumulate(below + 32, q2, scale);
  accumulate(below + 48, q3, scale);
}

// @ts-ignore: decorator
@inline
function oneRow(out: usize, a: usize, b: usize, i: u32, j: u32, k: u32, n: u32, factor: f32): void {
  let p0 = f32x4.splat(0), p1 = p0, p2 = p0, p3 = p0;
  let right = b + (<usize>j << 2);
  const left = a + ((<usize>i * k) << 2);
  for (let l: usize = 0; l < <usize>k << 2; l += 4) {
    const u = v128.load32_splat(left + l);
    p0 = f32x4.add(p0, f32x4.mul(u, v128.load(right)));
    p1 = f32x4.add(p1, f32x4.mul(u, v128.load(right, 16)));
    p2 = f32x4.add(p2, f32x4.mul(u, v128.load(right, 32)));
    p3 = f32x4.add(p3, f32x4.mul(u, v128.load(right, 48)));
    right += <usize>n << 2;
  }
  const scale = f32x4.splat(factor);
  const target = out + ((<usize>i * n + j) << 2);
  accumulate(target, p0, scale);
  accumulate(target + 16, p1, scale);
  accumulate(target + 32, p2, scale);
  accumulate(target + 48, p3, scale);
}

// @ts-ignore: decorator
@inline
function accumulate(target: usize, product: v128, scale: v128): void {
  v128.store(target, canonical(f32x4.add(v128.load(target), f32x4.mul(scale, product))));
}

function oneEntry(out: usize, a: usize, b: usize, i: u32, j: u32, k: u32, n: u32, factor: f32): void {
  let sum: f32 = 0;
  for (let l: u32 = 0; l < k; l++) {
    sum += load<f32>(a + ((<usize>i * k + l) << 2)) * load<f32>(b + ((<usize>l * n + j) << 2));
  }
  const target = out + ((<usize>i * n + j) << 2);
  const result = load<f32>(target) + factor * sum;
  if (result == result) store<f32>(target, result);
  else store<u32>(target, 0x7fc00000);
}
