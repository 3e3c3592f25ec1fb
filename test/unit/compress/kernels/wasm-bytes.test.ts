import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { kernels } from '../../../../compress/kernels/default.ts'
// @ts-expect-error: a plain script without types
import { buildWasmModule } from '../../../../scripts/build-wasm.mjs'

test('the committed WebAssembly bytes are what the AssemblyScript sources compile to', async () => {
  const committed = await readFile(new URL('../../../../compress/kernels/wasm-bytes.ts', import.meta.url), 'utf8')
  expect(await buildWasmModule()).toBe(committed)
})

test('the default kernels are the WebAssembly ones, as this engine has SIMD', () => {
  expect(kernels().name).toBe('wasm')
})
