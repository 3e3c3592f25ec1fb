/** Store and index URLs of the configuration. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { describe, expect, test } from 'vitest'
import { FsBlobStore } from '../../../registry/blob-store-fs.ts'
import { MemoryBlobStore } from '../../../registry/blob-store-memory.ts'
import { S3BlobStore } from '../../../registry/blob-store-s3.ts'
import { openIndex } from '../../../registry/open-index.ts'
import { openStore, parseS3Url } from '../../../registry/open-store.ts'
import { tempFolder } from '../../contract/temp-folder.ts'

describe('a store URL', () => {
  test('opens memory, a folder or S3', async () => {
    const folder = await tempFolder()
    expect(await openStore('memory:')).toBeInstanceOf(MemoryBlobStore)
    expect(await openStore(`file:${folder}`)).toBeInstanceOf(FsBlobStore)
    expect(await openStore(`file://${folder}/with%20space`)).toBeInstanceOf(FsBlobStore)
    expect(await openStore('s3://bucket')).toBeInstanceOf(S3BlobStore)
  })

  test('of S3 tells bucket, prefix and options', () => {
    expect(parseS3Url('s3://my-bucket')).toEqual({ bucket: 'my-bucket', prefix: '' })
    const url =
      's3://b/some/prefix/?endpoint=http://s3:8333&region=eu-1&path_style=false&signed_urls=false&public_endpoint=https://f.example'
    expect(parseS3Url(url)).toEqual({
      bucket: 'b',
      prefix: 'some/prefix/',
      endpoint: 'http://s3:8333',
      region: 'eu-1',
      pathStyle: false,
      signedUrls: false,
      publicEndpoint: 'https://f.example',
    })
  })

  test.each([
    'ftp://x',
    '',
    'data',
    'file:',
    'file:////host/share',
    's3:',
    's3:///prefix',
    's3://key:secret@bucket',
    's3://bucket?endpiont=http://x',
    's3://bucket?endpoint=s3:8333',
    's3://bucket?path_style=yes',
  ])('%j is URL_INVALID', async (url) => {
    await expect(openStore(url)).rejects.toMatchObject({ code: 'URL_INVALID' })
  })

  test('with a password in it is refused without repeating it', async () => {
    const opened = openStore('s3://key:hunter2@bucket')
    await expect(opened).rejects.toThrow(/^(?!.*hunter2)/)
  })
})

describe('an index URL', () => {
  test('opens a file, which keeps what was written', async () => {
    const url = `sqlite:${join(await tempFolder(), 'index.db')}`
    const first = await openIndex(url)
    await first.putIntent({ id: 'i', owner: 'o', repo: 'ns/one', digests: [], started: new Date(5) })
    await first.close()
    const second = await openIndex(url)
    expect(await second.listIntents()).toEqual([
      { id: 'i', owner: 'o', repo: 'ns/one', digests: [], started: new Date(5) },
    ])
    await second.close()
  })

  test.each(['', 'sqlite:', 'postgres://x', 'index.db'])('%j is URL_INVALID', async (url) => {
    await expect(openIndex(url)).rejects.toMatchObject({ code: 'URL_INVALID' })
  })

  test('in a folder that does not exist is INDEX_UNAVAILABLE', async () => {
    const url = `sqlite:${join(await tempFolder(), 'none/index.db')}`
    await expect(openIndex(url)).rejects.toMatchObject({ code: 'INDEX_UNAVAILABLE' })
  })

  test('of a file that is no database is INDEX_UNAVAILABLE', async () => {
    const path = join(await tempFolder(), 'index.db')
    await writeFile(path, 'this is not a database, and it is long enough to be looked at '.repeat(20))
    await expect(openIndex(`sqlite:${path}`)).rejects.toMatchObject({ code: 'INDEX_UNAVAILABLE' })
  })

  test('of an index that a newer version made is INDEX_UNAVAILABLE', async () => {
    const path = join(await tempFolder(), 'index.db')
    const db = new Database(path)
    db.pragma('user_version = 1000')
    db.close()
    await expect(openIndex(`sqlite:${path}`)).rejects.toMatchObject({
      code: 'INDEX_UNAVAILABLE',
      detail: { version: 1000 },
    })
  })
})
