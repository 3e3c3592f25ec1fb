import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { filePayload } from '../../../../compress/node/file-payload.ts'
import { collect } from '../container-builder.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tern-payload-'))
})
afterEach(async () => {
  await rm(dir, { recursive: true })
})

describe('a payload on disk', () => {
  test('gives back what was appended, every time it is read', async () => {
    const spool = await filePayload(join(dir, 'p'))
    const large = Uint8Array.from({ length: 3_000_000 }, (_, i) => i)
    await spool.append(Uint8Array.of(1, 2))
    await spool.append(large)
    expect(spool.size).toBe(3_000_002)
    const expected = new Uint8Array(3_000_002)
    expected.set([1, 2])
    expected.set(large, 2)
    for (let i = 0; i < 2; i++) expect(Buffer.compare(await collect(spool.read()), expected)).toBe(0)
    await spool.close()
  })

  test('leaves no file behind', async () => {
    const path = join(dir, 'p')
    const spool = await filePayload(path)
    await spool.append(new Uint8Array(10))
    expect(existsSync(path)).toBe(true)
    await spool.close()
    expect(existsSync(path)).toBe(false)
  })

  test('never writes over a file that is there', async () => {
    await writeFile(join(dir, 'p'), 'mine')
    await expect(filePayload(join(dir, 'p'))).rejects.toMatchObject({ code: 'EEXIST' })
  })
})
