import { expect, test } from 'vitest'
import { jsKernels } from '../../../../compress/kernels/js.ts'
import { wasmKernels } from '../../../../compress/kernels/wasm.ts'
import { SIGN_BIT } from '../../../../compress/quantized-tensor.ts'
import { random } from '../../../fixtures/random.ts'

test.each([
  [1000, 300, 0.5],
  [3, 60_000, 0.9],
  [200_000, 1, 0.7],
  [1, 200_000, 0.7],
  [2 ** 20 + 3, 2, 0.05],
  [5, 7, 0],
])('counts of rows and columns are those of the reference, over several chunks too: %d x %d', (rows, cols, density) => {
  const uniform = random(rows)
  const positions: number[] = []
  for (let i = 0; i < rows * cols; i++) if (uniform() < density) positions.push(uniform() < 0.5 ? i : i + SIGN_BIT)
  const list = Uint32Array.from(positions)
  expect(wasmKernels().marginals(list, rows, cols)).toEqual(jsKernels.marginals(list, rows, cols))
})
