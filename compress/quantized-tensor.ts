/**
 * What the lossy step makes of one tensor, and what every codec must return bit for bit.
 *
 * The tensor is seen as a matrix: `cols` = last dimension (1 for a scalar), `rows` = product of the others.
 */
export interface QuantizedTensor {
  readonly rows: number
  readonly cols: number
  /**
   * The non-zero trits, ascending by flat row-major index: bits 0..30 are the index, bit 31 is set for -1.
   * A tensor therefore has fewer than 2^31 entries.
   */
  readonly positions: Uint32Array
  /**
   * Further layers of trits, each worth a third of the one before, in the same form as `positions`; absent for plain
   * trits. The entry is the sum of its trits times their worth, times its scale; the last layer is worth 1.
   */
  readonly finer?: readonly Uint32Array[]
  readonly scales: Scales
}

/** What one trit of each of `layers` layers is worth, in scales: powers of three, the last one 1. */
export function layerWorths(layers: number): number[] {
  return Array.from({ length: layers }, (_, layer) => 3 ** (layers - 1 - layer))
}

/** Magnitudes of the non-zero trits: one for the tensor, one per row, or one per column. All finite and >= 0. */
export interface Scales {
  readonly axis: 'tensor' | 'row' | 'column'
  /** Length 1, rows or cols. `row` and `column` values are exactly representable in bf16 (quantize rounds them). */
  readonly values: Float32Array
}

export const SIGN_BIT = 0x8000_0000
export const INDEX_MASK = 0x7fff_ffff
export const MAX_ENTRIES = 2 ** 31 - 1
