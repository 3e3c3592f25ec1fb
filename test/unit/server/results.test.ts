import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { sha256 } from '../../../registry/digest.ts'
import { Results } from '../../../server/service/results.ts'
import { SpoolRoot } from '../../../server/service/spool.ts'
import { tempFolder } from '../../contract/temp-folder.ts'

const plan = (name: string) => sha256(Buffer.from(name))

async function setUp(maxBytes: number) {
  const dir = await tempFolder()
  const spools = await SpoolRoot.open(join(dir, 'spool'))
  const results = await Results.open(join(dir, 'results'), maxBytes)
  const keep = async (name: string, size: number) => {
    const spool = await spools.create()
    const stream = (async function* () {
      yield new Uint8Array(size).fill(7)
    })()
    const file = {
      ...(await spool.receive(stream)),
      path: 'a/model.safetensors',
      media_type: 'application/octet-stream',
    }
    await results.keep(plan(name), [file], { note: name })
    await spool.discard()
  }
  return { dir, results, keep }
}

describe('kept results', () => {
  test('are found again under their plan', async () => {
    const { results, keep } = await setUp(1000)
    await keep('x', 10)
    expect(await results.find(plan('x'))).toMatchObject({
      files: [{ path: 'a/model.safetensors', size: 10 }],
      report: { note: 'x' },
    })
    expect(await results.find(plan('y'))).toBeUndefined()
  })

  test('are served in parts', async () => {
    const { results, keep } = await setUp(1000)
    await keep('x', 10)
    const file = await results.serve(plan('x'), 'a/model.safetensors')
    const pieces: Uint8Array[] = []
    for await (const bytes of file.stream(2, 5, new AbortController().signal)) pieces.push(bytes)
    expect(Buffer.concat(pieces)).toEqual(Buffer.alloc(3, 7))
    expect(file).toMatchObject({ size: 10, fileName: 'model.safetensors', immutable: false })
  })

  test('make room for later ones, and say so', async () => {
    const { results, keep } = await setUp(25)
    await keep('x', 10)
    await keep('y', 10)
    await keep('z', 20)
    await expect(results.serve(plan('x'), 'a/model.safetensors')).rejects.toMatchObject({ code: 'RESULT_GONE' })
    await expect(results.serve(plan('y'), 'a/model.safetensors')).rejects.toMatchObject({ code: 'RESULT_GONE' })
    expect((await results.serve(plan('z'), 'a/model.safetensors')).size).toBe(20)
  })

  test('of one plan made twice at once are one', async () => {
    const { dir, results, keep } = await setUp(1000)
    await Promise.all([keep('x', 10), keep('x', 10)])
    expect((await results.serve(plan('x'), 'a/model.safetensors')).size).toBe(10)
    expect(await readdir(join(dir, 'results'))).toHaveLength(1)
  })

  test('hold no other path', async () => {
    const { results, keep } = await setUp(1000)
    await keep('x', 10)
    await expect(results.serve(plan('x'), '../files.json')).rejects.toMatchObject({ code: 'ENTRY_NOT_FOUND' })
  })

  test('that a crash left unfinished are removed at the next start', async () => {
    const { dir } = await setUp(1000)
    const half = join(dir, 'results', 'tmp-1234')
    await mkdir(half)
    await writeFile(join(half, '0'), 'x')
    await Results.open(join(dir, 'results'), 1000)
    expect(await readdir(join(dir, 'results'))).toEqual([])
  })
})
