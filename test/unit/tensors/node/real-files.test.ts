import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { adapterRole, loraScaling, pairLora, parseAdapterConfig } from '../../../../tensors/adapter-config.ts'
import { matchBaseNames } from '../../../../tensors/name-map.ts'
import { openModelFolder } from '../../../../tensors/node/model-folder.ts'
import { weightsDigest } from '../../../../tensors/node/weights-digest.ts'
import { safetensorsView } from '../../../../tensors/safetensors-view.ts'
import { fixturesDir } from '../../../fixtures/fixtures-dir.ts'

const dir = fixturesDir()
const LORAS = [
  { path: 'lora/debsection', pairs: 37, saved: 2 },
  { path: 'lora/wnnoun', pairs: 37, saved: 2 },
  { path: 'lora/moviesent', pairs: 37, saved: 2 },
  { path: 'lora-smollm2/debsection', pairs: 210, saved: 0 },
]

describe.skipIf(!dir)('real files', () => {
  it.each(LORAS)('of the adapter $path fall into pairs of rank 16 and scaling 2', async ({ path, pairs, saved }) => {
    const folder = join(dir!, path)
    const source = await openModelFolder(folder)
    const config = parseAdapterConfig(readFileSync(join(folder, 'adapter_config.json'), 'utf8'))
    const found = pairLora(source.tensors)
    expect(found).toHaveLength(pairs)
    expect(new Set(found.map(({ module, rank }) => loraScaling(config, module, rank)))).toEqual(new Set([2]))
    expect(source.tensors.filter(({ name }) => adapterRole(name) === 'saved')).toHaveLength(saved)
    expect(source.tensors.filter(({ name }) => adapterRole(name) === 'other')).toEqual([])
    await source.close?.()
  })

  it('of the full fine-tune match all of the base but its embeddings, and leave the head over', async () => {
    const base = await openModelFolder(join(dir!, 'base-minilm'))
    const full = await openModelFolder(join(dir!, 'full/debsection'))
    const names = full.tensors.map(({ name }) => name)
    const partner = matchBaseNames(
      names,
      base.tensors.map(({ name }) => name),
    )
    expect(names.filter((name) => partner(name) === undefined).sort()).toEqual(['classifier.bias', 'classifier.weight'])
    const used = new Set(names.map(partner))
    const unused = base.tensors.map(({ name }) => name).filter((name) => !used.has(name))
    expect(unused.every((name) => name.startsWith('embeddings.'))).toBe(true)
    await base.close?.()
    await full.close?.()
  })

  it.each(['lora/debsection/adapter_model.safetensors', 'full/debsection/partial.safetensors'])(
    'give through a view a file of the same weights: %s',
    async (path) => {
      const source = await openModelFolder(join(dir!, path))
      const view = safetensorsView(source)
      const original = readFileSync(join(dir!, path))
      expect(view.size).toBe(original.byteLength)
      const data = source.locate(source.tensors[0]!.name).start
      expect(Buffer.from(await view.read(data, view.size)).equals(original.subarray(data))).toBe(true)
      await source.close?.()
    },
  )

  it('of different experts have different digests', async () => {
    const digests = new Set<string>()
    for (const { path } of LORAS) {
      const source = await openModelFolder(join(dir!, path, 'adapter_model.safetensors'))
      digests.add(await weightsDigest(source))
      await source.close?.()
    }
    expect(digests.size).toBe(LORAS.length)
  })
})
