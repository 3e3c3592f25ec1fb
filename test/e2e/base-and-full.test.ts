/** A real base of 45 MB and a full fine-tune of it, by the command line: needs the large fixtures. */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { fixturesDir } from '../fixtures/fixtures-dir.ts'
import { type Finished, ROOT, type ServerProcess, startServer, tern } from './server-process.ts'
import { stores } from './stores.ts'

// Each command is a process of its own, and machines are slow and shared.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

const fixtures = fixturesDir()
const BASE = 'sentence-transformers/all-MiniLM-L6-v2'

async function sha256(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex')
}

function expectDone(finished: Finished): Finished {
  expect(finished.code, finished.stderr).toBe(0)
  return finished
}

describe.skipIf(fixtures === undefined).each(stores)('with a real base on $name', ({ missing, env }) => {
  describe.skipIf(missing)('the command line', () => {
    const baseFolder = join(fixtures ?? '', 'base-minilm')
    const full = join(fixtures ?? '', 'full/debsection')
    let folder = ''
    let server: ServerProcess
    const cli = (...args: string[]) => tern([...args, '--server', server.url])

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'tern-base-'))
      server = await startServer(env(folder))
      expectDone(await cli('push', baseFolder, BASE, '--kind', 'base'))
      expectDone(await cli('push', join(ROOT, 'examples/debsection'), 'demo/debsection', '--base', BASE))
      expectDone(await cli('push', join(ROOT, 'examples/wnnoun'), 'demo/wnnoun', '--base', BASE))
    })
    afterAll(async () => {
      await server.kill()
      await rm(folder, { recursive: true })
    })

    test('pulls a base back as it was pushed', async () => {
      expectDone(await cli('pull', BASE, join(folder, 'base')))
      const names = (await readdir(baseFolder)).sort()
      expect((await readdir(join(folder, 'base'))).sort()).toEqual(names)
      for (const name of names) {
        expect(await sha256(join(folder, 'base', name)), name).toBe(await sha256(join(baseFolder, name)))
      }
    })

    test('pushes a full fine-tune and pulls what decompress makes of its container', async () => {
      const pushed = JSON.parse(expectDone(await cli('push', full, 'demo/full', '--base', BASE, '--json')).stdout)
      expect(pushed).toMatchObject({ kind: 'full', base: { repo: BASE } })
      expectDone(await cli('pull', 'demo/full', join(folder, 'full')))
      expectDone(await cli('pull', 'demo/full', join(folder, 'compressed'), '--compressed'))
      const container = join(folder, 'compressed/expert.tern')
      expectDone(await tern(['decompress', container, join(folder, 'offline'), '--base', baseFolder]))
      const weights = 'model.safetensors'
      expect(await sha256(join(folder, 'full', weights))).toBe(await sha256(join(folder, 'offline', weights)))
    })

    test('adds both experts to the base by a mergekit recipe, as it does without a server', async () => {
      const recipe = join(ROOT, 'examples/merge-onto-base.yml')
      expectDone(await cli('merge', recipe, join(folder, 'merged')))
      expect(await readdir(join(folder, 'merged'))).toEqual(
        expect.arrayContaining(['config.json', 'mergekit_config.yml', 'model.safetensors', 'tokenizer.json']),
      )
      for (const name of ['debsection', 'wnnoun']) {
        expectDone(await cli('pull', `demo/${name}`, join(folder, 'experts', name)))
      }
      const local = (await readFile(recipe, 'utf8'))
        .replaceAll(BASE, baseFolder)
        .replaceAll('demo/', `${join(folder, 'experts')}/`)
      await writeFile(join(folder, 'local.yml'), local)
      expectDone(await tern(['merge', '--local', join(folder, 'local.yml'), join(folder, 'merged-here')]))
      const weights = 'model.safetensors'
      expect(await sha256(join(folder, 'merged-here', weights))).toBe(await sha256(join(folder, 'merged', weights)))
      expect(await sha256(join(folder, 'merged-here/config.json'))).toBe(
        await sha256(join(folder, 'merged/config.json')),
      )
    })

    test('publishes a merge where its recipe says so', async () => {
      const recipe = await readFile(join(ROOT, 'examples/merge-onto-base.yml'), 'utf8')
      await writeFile(join(folder, 'publish.yml'), `${recipe}output:\n  kind: expert\n  publish: demo/both\n`)
      const { stdout } = expectDone(await cli('merge', join(folder, 'publish.yml'), join(folder, 'published')))
      expect(stdout).toMatch(/^published +demo\/both@[0-9a-f]{40}$/m)
      expect(expectDone(await cli('inspect', 'demo/both')).stdout).toMatch(/^kind +full$/m)
    })

    test('refuses a merge onto another base, naming both', async () => {
      const other = join(folder, 'other-base')
      expectDone(await cli('merge', join(ROOT, 'examples/merge-onto-base.yml'), other))
      expectDone(await cli('push', other, 'demo/other-base', '--kind', 'base'))
      const recipe = await readFile(join(ROOT, 'examples/merge-onto-base.yml'), 'utf8')
      await writeFile(join(folder, 'wrong.yml'), recipe.replaceAll(BASE, 'demo/other-base'))
      const { code, stderr } = await cli('merge', join(folder, 'wrong.yml'), join(folder, 'wrong'))
      expect(code).toBe(1)
      expect(stderr).toMatch(/BASE_DIFFERS: demo\/(debsection|wnnoun) .*demo\/other-base/)
      expect(existsSync(join(folder, 'wrong'))).toBe(false)
    })
  })
})
