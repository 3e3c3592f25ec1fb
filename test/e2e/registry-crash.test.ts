/** The process dies by SIGKILL at every step of every change of a registry; the next one must find it in order. */
import { spawnSync } from 'node:child_process'
import { readdir, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { collectGarbage } from '../../registry/gc.ts'
import { openIndex } from '../../registry/open-index.ts'
import { openStore } from '../../registry/open-store.ts'
import { Registry } from '../../registry/registry.ts'
import { readRepo } from '../../registry/repo-document.ts'
import { verifyRegistry } from '../../registry/verify.ts'
import { keysOf, NOW, request, textFile, textOf } from '../contract/registry-parts.ts'
import { tempFolder } from '../contract/temp-folder.ts'

const CHILD = fileURLToPath(new URL('registry-crash-child.ts', import.meta.url))

function run(folder: string, action: string, dieAt: number) {
  const { stdout, stderr, signal, status } = spawnSync(process.execPath, [CHILD, folder, action, String(dieAt)], {
    encoding: 'utf8',
  })
  const lines = stdout.trim().split('\n')
  const steps = lines.filter((line) => line.startsWith('step ')).map((line) => line.slice('step '.length))
  if (signal === null && status !== 0) throw new Error(`the child failed: ${stderr}`)
  return { steps, acknowledged: lines.some((line) => line.startsWith('done')), killed: signal === 'SIGKILL' }
}

async function openParts(folder: string) {
  const index = await openIndex(`sqlite:${folder}/index.db`)
  onTestFinished(() => void index.close())
  return { store: await openStore(`file:${folder}/data`), index }
}

/** A registry that holds one acknowledged revision. */
async function prepared() {
  const folder = await tempFolder()
  const index = await openIndex(`sqlite:${folder}/index.db`)
  const registry = new Registry({ store: await openStore(`file:${folder}/data`), index })
  const first = await registry.publish(request('ns/one', 'first'))
  await index.close()
  return { folder, first }
}

/** What every restart must find, whatever was under way. */
async function reopened(folder: string) {
  const parts = await openParts(folder)
  const registry = new Registry(parts)
  await registry.replayIntents()
  expect(await parts.index.listIntents()).toEqual([])
  expect((await verifyRegistry(parts)).problems).toEqual([])
  const document = (await readRepo(parts.store, 'ns/one'))?.document
  const indexed = await parts.index.findRepo('ns/one')
  expect(indexed?.version).toBe(document?.version)
  return { parts, registry, document }
}

/** The steps of a change that is not disturbed, counted once per change. */
const stepsOf = async (action: string) => {
  const { folder } = await prepared()
  return run(folder, action, 0)
}

describe('a publish', () => {
  test('passes intent, blobs, manifest, ref, recheck and index, in this order', async () => {
    const { steps, acknowledged } = await stepsOf('publish')
    expect(acknowledged).toBe(true)
    const order = steps.filter((step) => !step.includes('blob'))
    expect(order).toEqual(
      ['intent', 'manifest', 'ref', 'recheck', 'index'].flatMap((name) => [`before ${name}`, `after ${name}`]),
    )
    const blobs = steps.map((step, i) => (step.includes('blob') ? i : -1)).filter((i) => i >= 0)
    expect(blobs).toHaveLength(4)
    expect(Math.min(...blobs)).toBeGreaterThan(steps.indexOf('after intent'))
    expect(Math.max(...blobs)).toBeLessThan(steps.indexOf('before manifest'))
  })

  test('killed at any of its 14 steps loses nothing that was acknowledged and leaves nothing that is wrong', {
    timeout: 300_000,
  }, async () => {
    const { steps } = await stepsOf('publish')
    expect(steps).toHaveLength(14)
    for (let dieAt = 1; dieAt <= steps.length; dieAt += 1) {
      const { folder, first } = await prepared()
      const child = run(folder, 'publish', dieAt)
      expect(child).toMatchObject({ killed: true, acknowledged: false })
      const last = child.steps.at(-1) ?? ''
      const { parts, registry } = await reopened(folder)

      // The acknowledged revision is there, and readable.
      const old = await registry.resolve('ns/one', first.revision)
      expect(await textOf(registry, old.manifest.files[1]?.digest ?? 'sha256:')).toBe('first')
      // The other is there whole, with its tag, from the moment the ref was written; before, it is not there at all.
      const arrived = ['after ref', 'recheck', 'index'].some((name) => last.endsWith(name))
      const head = await registry.resolve('ns/one')
      expect(await textOf(registry, head.manifest.files[1]?.digest ?? 'sha256:'), last).toBe(
        arrived ? 'second' : 'first',
      )
      const { tags, revisions } = await registry.repo('ns/one')
      expect(tags.map((tag) => tag.name)).toEqual(arrived ? ['latest'] : [])
      expect(revisions).toHaveLength(arrived ? 2 : 1)

      // gc leaves exactly what the refs reach, and no temp file.
      await collectGarbage(parts, { ...NOW, dryRun: false })
      const kinds = (await keysOf(parts.store)).map((key) => key.split('/')[0])
      expect(
        kinds.filter((kind) => kind === 'blobs'),
        last,
      ).toHaveLength(arrived ? 3 : 2)
      expect(
        kinds.filter((kind) => kind === 'manifests'),
        last,
      ).toHaveLength(arrived ? 2 : 1)
      expect(await readdir(`${folder}/data/.tmp`)).toEqual([])

      // Doing it again ends in the same place.
      const again = await registry.publish(request('ns/one', 'second', { tags: ['latest'] }))
      expect((await registry.repo('ns/one')).revisions).toHaveLength(2)
      expect((await registry.resolve('ns/one', 'latest')).digest).toBe(again.digest)
      expect((await verifyRegistry(parts)).problems).toEqual([])
    }
  })

  test('killed between ref and index is found by a reader even before the intents are replayed, once the index is lost', async () => {
    const { folder } = await prepared()
    const { steps } = await stepsOf('publish')
    run(folder, 'publish', steps.indexOf('after ref') + 1)
    const { store } = await openParts(folder)
    const index = await openIndex('sqlite::memory:')
    const head = await new Registry({ store, index }).resolve('ns/one')
    expect(head.manifest.files[1]?.digest).toBe(textFile('expert.tern', 'second').digest)
    await index.close()
  })

  test('killed while it wrote a file leaves a temp file for gc and no object', async () => {
    const { folder } = await prepared()
    await writeFile(`${folder}/data/.tmp/0f0e0d0c`, 'half a blob')
    const { parts } = await reopened(folder)
    expect((await collectGarbage(parts, NOW)).unfinished).toEqual(['.tmp/0f0e0d0c'])
    await collectGarbage(parts, { ...NOW, dryRun: false })
    expect(await readdir(`${folder}/data/.tmp`)).toEqual([])
  })
})

describe('setting a tag', () => {
  test('killed at any step has set it or has not, and the index knows which', { timeout: 180_000 }, async () => {
    const { steps } = await stepsOf('tag')
    for (let dieAt = 1; dieAt <= steps.length; dieAt += 1) {
      const { folder, first } = await prepared()
      const { steps: passed } = run(folder, 'tag', dieAt)
      const { registry } = await reopened(folder)
      const set = passed.includes('after ref')
      expect((await registry.repo('ns/one')).tags.map((tag) => tag.name)).toEqual(set ? ['latest'] : [])
      expect((await registry.resolve('ns/one')).digest).toBe(first.digest)
    }
  })
})

describe('deleting a repo', () => {
  test('killed at any step has deleted it or has not, and the index knows which', { timeout: 180_000 }, async () => {
    const { steps } = await stepsOf('delete')
    for (let dieAt = 1; dieAt <= steps.length; dieAt += 1) {
      const { folder, first } = await prepared()
      const { steps: passed } = run(folder, 'delete', dieAt)
      const { registry, document } = await reopened(folder)
      if (passed.includes('after delete')) {
        expect(document).toBeUndefined()
        expect((await registry.listRepos()).repos).toEqual([])
        await expect(registry.resolve('ns/one')).rejects.toMatchObject({ code: 'REPO_NOT_FOUND' })
      } else {
        expect((await registry.resolve('ns/one')).digest).toBe(first.digest)
      }
    }
  })
})
