import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { fileSink, openFileSource } from '../../../../tensors/node/file-source.ts'
import { tempFolder } from './temp-folder.ts'

function fileOf(bytes: Uint8Array): string {
  const path = join(tempFolder(), 'file')
  writeFileSync(path, bytes)
  return path
}

describe('a file as a source', () => {
  it('knows its path and size and gives any range', async () => {
    const path = fileOf(Uint8Array.of(1, 2, 3, 4, 5))
    const source = await openFileSource(path)
    expect(source).toMatchObject({ path, size: 5 })
    expect([...(await source.read(1, 4))]).toEqual([2, 3, 4])
    expect([...(await source.read(5, 5))]).toEqual([])
    await source.close()
  })

  it('gives each read memory of its own', async () => {
    const source = await openFileSource(fileOf(Uint8Array.of(1, 2, 3)))
    const first = await source.read(0, 3)
    expect([first.byteOffset, first.buffer.byteLength]).toEqual([0, 3])
    first.fill(9)
    expect([...(await source.read(0, 3))]).toEqual([1, 2, 3])
    await source.close()
  })

  it.each([
    [-1, 2],
    [2, 1],
    [0, 4],
  ])('refuses the range %i to %i of three bytes', async (start, end) => {
    const source = await openFileSource(fileOf(new Uint8Array(3)))
    await expect(source.read(start, end)).rejects.toMatchObject({ code: 'SOURCE_TRUNCATED' })
    await source.close()
  })

  it('says so when the file has become shorter', async () => {
    const path = fileOf(new Uint8Array(100))
    const source = await openFileSource(path)
    truncateSync(path, 40)
    await expect(source.read(10, 90)).rejects.toMatchObject({ code: 'SOURCE_TRUNCATED', detail: { present: 40 } })
    await source.close()
  })

  it('does not read for a caller that has gone', async () => {
    const source = await openFileSource(fileOf(new Uint8Array(3)))
    await expect(source.read(0, 3, AbortSignal.abort())).rejects.toThrow(/abort/i)
    await source.close()
  })

  it('is refused where there is no file', async () => {
    const folder = tempFolder()
    mkdirSync(join(folder, 'sub'))
    writeFileSync(join(folder, 'file'), '')
    for (const name of ['missing', 'sub', 'file/below']) {
      await expect(openFileSource(join(folder, name))).rejects.toMatchObject({ code: 'WEIGHTS_NOT_FOUND' })
    }
  })
})

describe('a file as a sink', () => {
  it('holds what was written, in order', async () => {
    const path = fileOf(Uint8Array.of(9, 9, 9, 9, 9, 9, 9, 9))
    const sink = await fileSink(path)
    await sink.write(Uint8Array.of(1, 2))
    await sink.write(new Uint8Array())
    await sink.write(Uint8Array.of(0, 3).subarray(1))
    await sink.end()
    expect([...readFileSync(path)]).toEqual([1, 2, 3])
  })

  it('leaves nothing behind when it is given up', async () => {
    const path = join(tempFolder(), 'file')
    const sink = await fileSink(path)
    await sink.write(Uint8Array.of(1, 2))
    await sink.abort()
    expect(existsSync(path)).toBe(false)
  })
})
