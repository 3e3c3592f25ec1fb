/**
 * A dense f64 matrix stored by columns: entry (i, j) is `values[j * rows + i]`. The transforms work on columns, so
 * their inner loops run over contiguous memory.
 */
export interface ColumnMatrix {
  readonly rows: number
  readonly cols: number
  readonly values: Float64Array
}

export function columnMatrix(rows: number, cols: number): ColumnMatrix {
  return { rows, cols, values: new Float64Array(rows * cols) }
}

/** Column `j` as a view: writes go to the matrix. */
export function column(matrix: ColumnMatrix, j: number): Float64Array {
  return matrix.values.subarray(j * matrix.rows, (j + 1) * matrix.rows)
}

export function transpose(matrix: ColumnMatrix): ColumnMatrix {
  const out = columnMatrix(matrix.cols, matrix.rows)
  for (let j = 0; j < matrix.cols; j++) {
    for (let i = 0; i < matrix.rows; i++) {
      out.values[i * out.rows + j] = matrix.values[j * matrix.rows + i] as number
    }
  }
  return out
}

/** Sum of products over ascending index, one f64 accumulator: the order that ALGORITHM.md fixes. */
export function dot(x: Float64Array, y: Float64Array, from = 0): number {
  let sum = 0
  for (let i = from; i < x.length; i++) sum += (x[i] as number) * (y[i] as number)
  return sum
}
