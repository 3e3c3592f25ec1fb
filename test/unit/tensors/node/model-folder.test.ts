import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openModelFolder } from '../../../../tensors/node/model-folder.ts'
import { serialiseHeader } from '../../../../tensors/safetensors-header.ts'
import { tempFolder } from './temp-folder.ts'

/** A file with one U8 tensor. */
function oneTensor(name: string, values: number[]): Uint8Array {
  return Buffer.concat([serialiseHeader([{ name, dtype: 'U8', shape: [values.length] }], {}), Buffer.from(values)])
}

function folderOf(files: Record<string, Uint8Array | string>): string {
  const folder = tempFolder()
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
  return folder
}

const WEIGHTS = oneTensor('w', [1, 2, 3])
const SHARDS = {
  'model-00001-of-00002.safetensors': oneTensor('b', [4, 5]),
  'model-00002-of-00002.safetensors': oneTensor('a', [6]),
}
const INDEX = JSON.stringify({
  weight_map: { a: 'model-00002-of-00002.safetensors', b: 'model-00001-of-00002.safetensors' },
})

describe('weights on disk', () => {
  it.each(['model.safetensors', 'adapter_model.safetensors', 'anything.safetensors'])(
    'are found in a folder as %s, and by their own path',
    async (name) => {
      const folder = folderOf({ [name]: WEIGHTS, 'config.json': '{}' })
      for (const path of [folder, join(folder, name)]) {
        const source = await openModelFolder(path)
        expect(source.tensors.map((tensor) => tensor.name)).toEqual(['w'])
        expect([...(await source.readBytes('w'))]).toEqual([1, 2, 3])
        expect([...(await source.read('w'))]).toEqual([1, 2, 3])
        await source.close?.()
      }
    },
  )

  it.each(['model', 'adapter_model'])('are found by the index %s.safetensors.index.json', async (name) => {
    const folder = folderOf({ ...SHARDS, [`${name}.safetensors.index.json`]: INDEX })
    for (const path of [folder, join(folder, `${name}.safetensors.index.json`)]) {
      const source = await openModelFolder(path)
      expect(source.tensors.map((tensor) => tensor.name)).toEqual(['b', 'a'])
      expect([...(await source.readBytes('b')), ...(await source.readBytes('a'))]).toEqual([4, 5, 6])
      await source.close?.()
    }
  })

  it('are located by file and range, also in shards', async () => {
    const folder = folderOf({ ...SHARDS, 'model.safetensors.index.json': INDEX })
    const source = await openModelFolder(folder)
    for (const { name } of source.tensors) {
      const { path, start, end, dtype, shape } = source.locate(name)
      expect(readFileSync(path).subarray(start, end)).toEqual(Buffer.from(await source.readBytes(name)))
      expect({ dtype, shape }).toEqual({ dtype: 'U8', shape: [end - start] })
    }
    expect(() => source.locate('c')).toThrow(expect.objectContaining({ code: 'TENSOR_NOT_FOUND' }))
    await source.close?.()
  })

  it.each([
    ['an empty folder', {}, /holds no weights: expected model\.safetensors, /],
    [
      'only pickled weights',
      { 'pytorch_model.bin': 'x' },
      /pytorch_model\.bin is not read: save the weights as safetensors/,
    ],
    ['only a configuration', { 'adapter_config.json': '{}' }, /holds no weights/],
    ['shards without their index', SHARDS, /model-00001-of-00002\.safetensors and model-00002.*the one that is meant/],
    [
      'a model and an adapter',
      { 'model.safetensors': WEIGHTS, 'adapter_model.safetensors': WEIGHTS },
      /model\.safetensors and adapter_model\.safetensors: give the path/,
    ],
  ] as const)('are refused for %s', async (_, files, message) => {
    await expect(openModelFolder(folderOf(files))).rejects.toMatchObject({
      code: 'WEIGHTS_NOT_FOUND',
      message: expect.stringMatching(message),
    })
  })

  it('are refused where there is nothing, or another kind of file', async () => {
    const folder = folderOf({ 'config.json': '{}', 'model.gguf': '' })
    for (const name of ['missing', 'config.json', 'model.gguf', 'config.json/below']) {
      await expect(openModelFolder(join(folder, name))).rejects.toMatchObject({ code: 'WEIGHTS_NOT_FOUND' })
    }
  })

  it('are refused with the name of the file that is damaged', async () => {
    const folder = folderOf({ 'model.safetensors': WEIGHTS.subarray(0, -1) })
    await expect(openModelFolder(folder)).rejects.toMatchObject({
      code: 'SAFETENSORS_INVALID',
      message: expect.stringMatching(/^model\.safetensors: .*truncated/),
    })
  })

  it('are refused where a shard is missing', async () => {
    const folder = folderOf({ 'model-00001-of-00002.safetensors': WEIGHTS, 'model.safetensors.index.json': INDEX })
    await expect(openModelFolder(folder)).rejects.toMatchObject({ code: 'SAFETENSORS_INVALID' })
    const other = folderOf({
      'model-00001-of-00002.safetensors': SHARDS['model-00001-of-00002.safetensors'],
      'model.safetensors.index.json': INDEX,
    })
    await expect(openModelFolder(other)).rejects.toMatchObject({
      code: 'WEIGHTS_NOT_FOUND',
      message: expect.stringContaining('model-00002-of-00002.safetensors'),
    })
  })

  it('are not a folder that has the name of a file', async () => {
    const folder = tempFolder()
    mkdirSync(join(folder, 'model.safetensors'))
    await expect(openModelFolder(folder)).rejects.toMatchObject({ code: 'WEIGHTS_NOT_FOUND' })
  })
})
