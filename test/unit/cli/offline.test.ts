import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { runCli } from '../../../cli/run-cli.ts'

// Whole compressions on machines that may be slow and shared.
vi.setConfig({ testTimeout: 60_000 })

const EXAMPLES = fileURLToPath(new URL('../../../examples', import.meta.url))

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tern-cli-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

async function tern(...args: string[]) {
  let out = ''
  let err = ''
  const code = await runCli(args, {
    terminal: { stdout: { write: (text) => (out += text) }, stderr: { write: (text) => (err += text) }, env: {} },
    signal: new AbortController().signal,
  })
  return { code, out, err }
}

async function sha256(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex')
}

describe('the command line', () => {
  test('lists every command in its help, with the exit codes', async () => {
    const { code, out } = await tern('--help')
    expect(code).toBe(0)
    for (const name of [
      'serve',
      'push',
      'pull',
      'merge',
      'compress',
      'decompress',
      'inspect',
      'gc',
      'reindex',
      'verify',
    ]) {
      expect(out).toMatch(new RegExp(`^  ${name} `, 'm'))
    }
    expect(out).toMatch(/2 {2}the command line was wrong/)
  })

  test('prints its version', async () => {
    const { version } = JSON.parse(await readFile(join(EXAMPLES, '../package.json'), 'utf8'))
    expect((await tern('--version')).out).toBe(`${version}\n`)
  })

  test('lists what the server reads from its environment', async () => {
    const { code, out } = await tern('serve', '--list-variables')
    expect(code).toBe(0)
    expect(out).toMatch(/^TERN_STORE_URL$/m)
  })

  test.each([
    ['an unknown command', ['frobnicate']],
    ['an unknown option', ['inspect', '--colour', 'x']],
    ['a missing argument', ['compress', 'only-one']],
    ['a choice that does not exist', ['compress', EXAMPLES, 'x.tern', '--scope', 'galaxy']],
    ['a server URL that is none', ['pull', 'a/b', 'dir', '--server', 'nonsense']],
    ['a repo that is none', ['push', join(EXAMPLES, 'debsection'), 'no-namespace']],
  ])('answers %s with exit code 2 and a reason', async (_, args) => {
    const { code, err } = await tern(...args)
    expect(code).toBe(2)
    expect(err).not.toBe('')
    expect(err).not.toMatch(/\n {4}at /)
  })

  test('answers a failure with exit code 1, its code, the reason and what to do', async () => {
    await writeFile(join(folder, 'x.tern'), 'taken')
    const { code, out, err } = await tern('compress', join(EXAMPLES, 'debsection'), join(folder, 'x.tern'))
    expect(code).toBe(1)
    expect(out).toBe('')
    expect(err).toMatch(/^tern: OUTPUT_EXISTS: .*x\.tern exists already\n {6}.*--force/)
  })

  test('prints a failure as JSON on stderr when JSON was asked for', async () => {
    const { code, err } = await tern('inspect', join(folder, 'none.tern'), '--json')
    expect(code).toBe(1)
    expect(JSON.parse(err).error).toMatchObject({ code: 'INPUT_NOT_FOUND', detail: expect.anything() })
  })

  test('shows the stack of a failure only when asked', async () => {
    expect((await tern('inspect', 'none.tern')).err).not.toMatch(/\n {4}at /)
    expect((await tern('inspect', 'none.tern', '--verbose')).err).toMatch(/\n {4}at /)
  })

  test('says how to reach a server when there is none', async () => {
    const { code, err } = await tern('pull', 'a/b', folder, '--server', 'http://127.0.0.1:1')
    expect(code).toBe(1)
    expect(err).toMatch(/SERVER_UNREACHABLE: http:\/\/127\.0\.0\.1:1: .*\n.*tern serve/)
  })
})

describe('compress and decompress', () => {
  test('give back a folder with the same tensors and the same configuration, byte for byte', async () => {
    const container = join(folder, 'x.tern')
    const back = join(folder, 'back')
    expect((await tern('compress', join(EXAMPLES, 'debsection'), container)).code).toBe(0)
    expect((await tern('decompress', container, back)).code).toBe(0)
    expect((await readdir(back)).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors'])
    expect(await readFile(join(back, 'adapter_config.json'), 'utf8')).toBe(
      await readFile(join(EXAMPLES, 'debsection/adapter_config.json'), 'utf8'),
    )
    const listed = async (path: string) =>
      JSON.parse((await tern('inspect', path, '--tensors', '--json')).out).tensors.map(
        (tensor: Record<string, unknown>) => [tensor.name, tensor.dtype, tensor.shape],
      )
    expect((await listed(back)).sort()).toEqual((await listed(join(EXAMPLES, 'debsection'))).sort())
  })

  test('make the same container from the same input', async () => {
    await tern('compress', join(EXAMPLES, 'wnnoun'), join(folder, 'a.tern'))
    await tern('compress', join(EXAMPLES, 'wnnoun'), join(folder, 'b.tern'), '--threads', '1')
    expect(await sha256(join(folder, 'a.tern'))).toBe(await sha256(join(folder, 'b.tern')))
  })

  test('give the same weights whatever the codec', async () => {
    const digests: string[] = []
    for (const codec of ['sgr', 'rice', 'bitplane']) {
      await tern('compress', join(EXAMPLES, 'wnnoun'), join(folder, `${codec}.tern`), '--codec', codec)
      await tern('decompress', join(folder, `${codec}.tern`), join(folder, codec))
      digests.push(await sha256(join(folder, codec, 'adapter_model.safetensors')))
    }
    expect(new Set(digests).size).toBe(1)
  })

  test('scale the weights by the gain and convert them to the dtype asked for', async () => {
    await tern('compress', join(EXAMPLES, 'wnnoun'), join(folder, 'x.tern'))
    await tern('decompress', join(folder, 'x.tern'), join(folder, 'out'), '--dtype', 'float32', '--gain', '2')
    const { out } = await tern('inspect', join(folder, 'out'), '--json')
    expect(JSON.parse(out).dtypes).toEqual(['F32'])
  })

  test('report sizes that add up, as JSON with names in snake_case', async () => {
    const { out } = await tern('compress', join(EXAMPLES, 'debsection'), join(folder, 'x.tern'), '--json')
    const result = JSON.parse(out)
    const { table, scales, trits, lossless, total } = result.report.bytes
    expect(64 + table + scales + trits + lossless).toBe(total)
    expect(total).toBe((await readFile(join(folder, 'x.tern'))).byteLength)
    expect(result.report.bits_per_parameter).toBeCloseTo((total * 8) / result.report.parameters, 12)
    expect(JSON.stringify(result)).not.toMatch(/"[a-z]+[A-Z]\w*":/)
  })

  test.each([
    ['0', 'density'],
    ['1.5', 'density'],
    ['abc', 'density'],
  ])('refuse a density of %s as a usage error that names it', async (density, name) => {
    const target = join(folder, 'x.tern')
    const { code, err } = await tern('compress', join(EXAMPLES, 'wnnoun'), target, '--density', density)
    expect(code).toBe(2)
    expect(err).toMatch(`PARAMETER_INVALID: ${name}`)
    expect(await readdir(folder)).toEqual([])
  })

  test('leave nothing behind when the input is bad', async () => {
    await cp(join(EXAMPLES, 'wnnoun'), join(folder, 'in'), { recursive: true })
    const weights = join(folder, 'in/adapter_model.safetensors')
    await writeFile(weights, (await readFile(weights)).subarray(0, 500_000))
    const { code, err } = await tern('compress', join(folder, 'in'), join(folder, 'out/x.tern'))
    expect(code).toBe(1)
    expect(err).toMatch(/SAFETENSORS_INVALID: .*adapter_model\.safetensors/)
    expect(existsSync(join(folder, 'out/x.tern'))).toBe(false)
    expect(existsSync(join(folder, 'out/x.tern.part'))).toBe(false)
  })

  test('warn when the setting loses a factor, and refuse it when strict', async () => {
    const paper = [
      'compress',
      join(EXAMPLES, 'debsection'),
      join(folder, 'x.tern'),
      '--preset',
      'paper',
      '--density',
      '0.05',
    ]
    const { code, err } = await tern(...paper)
    expect(code).toBe(0)
    expect(err).toMatch(/note: .*lora_B/)
    expect(await tern(...paper, '--force', '--strict')).toMatchObject({
      code: 1,
      err: expect.stringMatching('FACTOR_LOST'),
    })
  })

  test('refuse a container that was damaged', async () => {
    await tern('compress', join(EXAMPLES, 'wnnoun'), join(folder, 'x.tern'))
    const bytes = await readFile(join(folder, 'x.tern'))
    bytes[bytes.byteLength - 100] = (bytes[bytes.byteLength - 100] ?? 0) ^ 1
    await writeFile(join(folder, 'x.tern'), bytes)
    const { code, err } = await tern('decompress', join(folder, 'x.tern'), join(folder, 'out'))
    expect(code).toBe(1)
    expect(err).toMatch('CHECKSUM_MISMATCH')
    expect(existsSync(join(folder, 'out/adapter_model.safetensors'))).toBe(false)
  })
})

describe('merge --local', () => {
  const recipe = (first: string, second: string) =>
    `merge_method: cat\nmodels:\n  - model: ${first}\n    parameters: {weight: 0.7}\n  - model: ${second}\n    parameters: {weight: 0.3}\n`

  test('stacks adapters from a folder and from a container without a server', async () => {
    await tern('compress', join(EXAMPLES, 'wnnoun'), join(folder, 'w.tern'))
    await writeFile(join(folder, 'r.yml'), recipe(join(EXAMPLES, 'debsection'), join(folder, 'w.tern')))
    const { code, out } = await tern('merge', join(folder, 'r.yml'), join(folder, 'out'), '--local', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({ output_kind: 'adapter', tensors: 76 })
    expect(JSON.parse(await readFile(join(folder, 'out/adapter_config.json'), 'utf8'))).toMatchObject({
      r: 32,
      lora_alpha: 32,
    })
    expect(await readFile(join(folder, 'out/mergekit_config.yml'), 'utf8')).toContain('merge_method: cat')
  })

  test('gives the same bytes for the same recipe and inputs', async () => {
    await writeFile(join(folder, 'r.yml'), recipe(join(EXAMPLES, 'debsection'), join(EXAMPLES, 'wnnoun')))
    await tern('merge', join(folder, 'r.yml'), join(folder, 'one'), '--local')
    await tern('merge', join(folder, 'r.yml'), join(folder, 'two'), '--local')
    const weights = 'adapter_model.safetensors'
    expect(await sha256(join(folder, 'one', weights))).toBe(await sha256(join(folder, 'two', weights)))
  })

  test('names key and line of a mistake in the recipe, and writes nothing', async () => {
    const text = recipe(join(EXAMPLES, 'debsection'), join(EXAMPLES, 'wnnoun')).replace('0.3', 'heavy')
    await writeFile(join(folder, 'r.yml'), text)
    const { code, err } = await tern('merge', join(folder, 'r.yml'), join(folder, 'out'), '--local')
    expect(code).toBe(1)
    expect(err).toMatch(/RECIPE_INVALID: .*weight \(line 6\)/)
    expect(existsSync(join(folder, 'out'))).toBe(false)
  })

  test('says which input is not there', async () => {
    await writeFile(join(folder, 'r.yml'), recipe(join(EXAMPLES, 'debsection'), join(folder, 'missing')))
    const { err } = await tern('merge', join(folder, 'r.yml'), join(folder, 'out'), '--local')
    expect(err).toMatch(/MERGE_INPUT_NOT_FOUND: .*missing/)
  })
})
