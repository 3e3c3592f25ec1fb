import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { SpoolRoot } from '../../../server/service/spool.ts'
import { tempFolder } from '../../contract/temp-folder.ts'

async function* pieces(...sizes: number[]): AsyncGenerator<Uint8Array> {
  for (const [i, size] of sizes.entries()) yield new Uint8Array(size).fill(i + 1)
}

describe('a spool', () => {
  test('writes, counts and hashes what it receives', async () => {
    const root = await SpoolRoot.open(join(await tempFolder(), 'spool'))
    const spool = await root.create()
    const sizes = [1, 70_000, 2 ** 20, 3]
    const { file, digest, size } = await spool.receive(pieces(...sizes))
    const written = await readFile(file)
    expect(size).toBe(1 + 70_000 + 2 ** 20 + 3)
    expect(written.byteLength).toBe(size)
    expect(digest).toBe(`sha256:${createHash('sha256').update(written).digest('hex')}`)
    expect(written.at(-1)).toBe(4)
  })

  test('refuses more bytes than the limit, by the name of the stream', async () => {
    const root = await SpoolRoot.open(join(await tempFolder(), 'spool'))
    const spool = await root.create()
    await expect(spool.receive(pieces(6, 6), { maxBytes: 10, label: 'notes.txt' })).rejects.toMatchObject({
      code: 'TOO_LARGE',
      message: expect.stringContaining('notes.txt'),
    })
  })

  test('stops when it is aborted', async () => {
    const root = await SpoolRoot.open(join(await tempFolder(), 'spool'))
    const spool = await root.create()
    await expect(spool.receive(pieces(6), { signal: AbortSignal.abort(new Error('gone')) })).rejects.toThrow('gone')
  })

  test('shows the bytes to a watch, which may end it', async () => {
    const root = await SpoolRoot.open(join(await tempFolder(), 'spool'))
    const spool = await root.create()
    const seen: number[] = []
    const watch = {
      push(bytes: Uint8Array) {
        seen.push(bytes.byteLength)
        if (seen.length === 2) throw new Error('no')
      },
      end() {},
    }
    await expect(spool.receive(pieces(1, 2, 3), { watch })).rejects.toThrow('no')
    expect(seen).toEqual([1, 2])
  })

  test('leaves nothing once discarded', async () => {
    const root = await SpoolRoot.open(join(await tempFolder(), 'spool'))
    const spool = await root.create()
    await spool.receive(pieces(5))
    await spool.folderOf(new Map([['a', '/nowhere']]))
    await spool.discard()
    expect(await readdir(root.dir)).toEqual([])
  })
})

describe('the root of spools', () => {
  test('removes what a dead process left', async () => {
    const dir = join(await tempFolder(), 'spool')
    await mkdir(join(dir, 'old'), { recursive: true })
    await writeFile(join(dir, 'old', '1'), 'left')
    await SpoolRoot.open(dir)
    expect(await readdir(dir)).toEqual([])
  })

  test('is idle when the last spool is discarded', async () => {
    const root = await SpoolRoot.open(join(await tempFolder(), 'spool'))
    const [first, second] = [await root.create(), await root.create()]
    let idle = false
    const waiting = root.idle().then(() => {
      idle = true
    })
    await first.discard()
    await Promise.resolve()
    expect(idle).toBe(false)
    await second.discard()
    await waiting
    await root.idle()
  })
})
