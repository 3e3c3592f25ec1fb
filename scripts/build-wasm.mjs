/**
 * Compiles compress/kernels/assembly (AssemblyScript) into compress/kernels/wasm-bytes.ts, which is committed, so that
 * running Tern needs no compiler. `npm run build:wasm` writes it; with --check it only compares and fails if it is stale.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const ENTRY = 'compress/kernels/assembly/index.ts'
const TARGET = `${ROOT}compress/kernels/wasm-bytes.ts`

/** Pinned: other flags, or another version of the compiler, give other bytes. */
const FLAGS = [
  '--optimizeLevel',
  '3',
  '--shrinkLevel',
  '0',
  '--noAssert',
  '--runtime',
  'stub',
  '--enable',
  'simd',
  '--initialMemory',
  '1',
  '--maximumMemory',
  '1024',
]

/** Text of wasm-bytes.ts for the sources as they are. */
export async function buildWasmModule() {
  const { default: asc } = await import('assemblyscript/asc')
  const binaries = []
  const { error, stderr } = await asc.main([ENTRY, '--baseDir', ROOT, '--outFile', 'kernels.wasm', ...FLAGS], {
    writeFile: (name, contents) => {
      if (name.endsWith('.wasm')) binaries.push(contents)
    },
  })
  if (error !== null) throw new Error(`AssemblyScript: ${error.message}\n${stderr.toString()}`)
  return `/** The compiled kernels (see assembly/index.ts). Written by scripts/build-wasm.mjs; do not edit. */
export const WASM_BASE64 =
  '${Buffer.from(binaries[0]).toString('base64')}'
`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = await buildWasmModule()
  if (process.argv.includes('--check')) {
    if (text !== (await readFile(TARGET, 'utf8'))) {
      console.error(`${TARGET} is stale: run npm run build:wasm`)
      process.exitCode = 1
    }
  } else {
    await writeFile(TARGET, text)
    console.log(`${TARGET}: ${text.length} bytes`)
  }
}
