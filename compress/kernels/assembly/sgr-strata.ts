/**
 * From the entries of a part to those of its strata and back. A stratum holds the entries whose row has one class and
 * whose column has one class, row-major. Class arrays hold one byte per row or column; address 0 means one class.
 */

const MAX_CLASSES: u32 = 8;
const INDEX: u32 = 0x7fffffff;

// @ts-ignore: decorator
@inline
function classAt(classes: usize, i: u32): u32 {
  return classes ? <u32>load<u8>(classes + i) : 0;
}

/**
 * Sorts ascending positions into strata, kept in order: `out` gets the indices of stratum 0, then of stratum 1, ...
 * `counts` (rowClassCount * colClassCount u32) gets how many there are of each. `ranks` is room for cols u32, `next`
 * for as many u32 as there are strata.
 */
export function splitPart(
  positions: usize, count: u32, cols: u32, rowClasses: usize, colClasses: usize, colClassCount: u32, strata: u32,
  counts: usize, next: usize, ranks: usize, out: usize,
): void {
  memory.fill(counts, 0, <usize>strata << 2);
  const end = positions + (<usize>count << 2);
  let row: u32 = 0, rowStart: u32 = 0;
  for (let p = positions; p < end; p += 4) {
    const index = load<u32>(p) & INDEX;
    for (; index - rowStart >= cols; rowStart += cols) row++;
    const bin = counts + (<usize>(classAt(rowClasses, row) * colClassCount + classAt(colClasses, index - rowStart)) << 2);
    store<u32>(bin, load<u32>(bin) + 1);
  }
  startsOf(counts, strata, next);
  rankColumns(colClasses, cols, ranks);
  row = 0; rowStart = 0;
  memory.fill(rowsBefore, 0, MAX_CLASSES * 4);
  for (let p = positions; p < end; p += 4) {
    const entry = load<u32>(p);
    const index = entry & INDEX;
    for (; index - rowStart >= cols; rowStart += cols) {
      const passed = rowsBefore + (<usize>classAt(rowClasses, row++) << 2);
      store<u32>(passed, load<u32>(passed) + 1);
    }
    const rowClass = classAt(rowClasses, row);
    const colClass = classAt(colClasses, index - rowStart);
    const rowRank = load<u32>(rowsBefore + (<usize>rowClass << 2));
    const within = rowRank * load<u32>(widths + (<usize>colClass << 2)) + load<u32>(ranks + (<usize>(index - rowStart) << 2));
    const cursor = next + (<usize>(rowClass * colClassCount + colClass) << 2);
    const at = load<u32>(cursor);
    store<u32>(out + (<usize>at << 2), within | (entry & ~INDEX));
    store<u32>(cursor, at + 1);
  }
}

/** Per class: rows that lie before the current row; columns in all. */
const rowsBefore = memory.data(32, 16);
const widths = memory.data(32, 16);

/** starts[i] = sum of counts before i. */
function startsOf(counts: usize, n: u32, starts: usize): void {
  let sum: u32 = 0;
  for (let i: usize = 0; i < <usize>n << 2; i += 4) {
    store<u32>(starts + i, sum);
    sum += load<u32>(counts + i);
  }
}

/** ranks[col] = columns of the same class before it; fills `widths`. */
function rankColumns(colClasses: usize, cols: u32, ranks: usize): void {
  memory.fill(widths, 0, MAX_CLASSES * 4);
  for (let col: u32 = 0; col < cols; col++) {
    const width = widths + (<usize>classAt(colClasses, col) << 2);
    const rank = load<u32>(width);
    store<u32>(ranks + (<usize>col << 2), rank);
    store<u32>(width, rank + 1);
  }
}

/**
 * Groups the members of an axis by class, in order: `grouped` gets (member * step) of class 0, then of class 1, ...;
 * `starts` (9 u32) where each class begins, and the end.
 */
export function groupByClass(classes: usize, length: u32, step: u32, starts: usize, grouped: usize): void {
  memory.fill(widths, 0, MAX_CLASSES * 4);
  for (let i: u32 = 0; i < length; i++) {
    const width = widths + (<usize>classAt(classes, i) << 2);
    store<u32>(width, load<u32>(width) + 1);
  }
  startsOf(widths, MAX_CLASSES, starts);
  store<u32>(starts, length, MAX_CLASSES * 4);
  memory.copy(widths, starts, MAX_CLASSES * 4);
  for (let i: u32 = 0; i < length; i++) {
    const cursor = widths + (<usize>classAt(classes, i) << 2);
    const at = load<u32>(cursor);
    store<u32>(grouped + (<usize>at << 2), i * step);
    store<u32>(cursor, at + 1);
  }
}

/**
 * Marks the entries of a stratum in two bit planes of the part, non-zero and sign. `rows` are the starts of the
 * stratum's rows, `columns` its `width` columns.
 */
export function markStratum(
  indices: usize, count: u32, rows: usize, columns: usize, width: u32, mask: usize, signs: usize,
): void {
  let row = rows;
  let rowEnd = width; // index of the first entry after the current row
  const end = indices + (<usize>count << 2);
  for (let p = indices; p < end; p += 4) {
    const entry = load<u32>(p);
    const index = entry & INDEX;
    for (; index >= rowEnd; rowEnd += width) row += 4;
    const cell = load<u32>(row) + load<u32>(columns + (<usize>(index + width - rowEnd) << 2));
    const at = <usize>(cell >> 5) << 2;
    const bit = cell & 31;
    store<u32>(mask + at, load<u32>(mask + at) | (<u32>1 << bit));
    store<u32>(signs + at, load<u32>(signs + at) | ((entry >> 31) << bit));
  }
}

/** The marked cells as positions, ascending, with sign. Returns how many. */
export function planesToPositions(mask: usize, signs: usize, cells: u32, out: usize): u32 {
  let target = out;
  for (let i: u32 = 0; i < cells; i += 32) {
    const at = <usize>(i >> 3);
    const sign = load<u32>(signs + at);
    for (let bits = load<u32>(mask + at); bits; bits &= bits - 1) {
      const bit = ctz(bits);
      store<u32>(target, (i + bit) | ((sign >> bit) << 31));
      target += 4;
    }
  }
  return <u32>((target - out) >> 2);
}
