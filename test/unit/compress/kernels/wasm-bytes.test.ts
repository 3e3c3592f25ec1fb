import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { kernels } from '../../../../compress/kernels/default.ts'

function hasCompiler(): boolean {
  try {
    return import.meta.resolve('assemblyscript/asc') !== ''
  } catch {
    return false
  }
}

describe.skipIf(!hasCompiler())('with AssemblyScript installed', () => {
  test('the committed WebAssembly bytes are what the sources compile to', async () => {
    const script = new URL('../../../../scripts/build-wasm.mjs', import.meta.url).href
    const { buildWasmModule } = await import(script)
    const committed = await readFile(new URL('../../../../compress/kernels/wasm-bytes.ts', import.meta.url), 'utf8')
    expect(await buildWasmModule()).toBe(committed)
  })
})

test('the default kernels are the WebAssembly ones where the engine has SIMD', () => {
  expect(kernels().name).toBe('wasm')
})
