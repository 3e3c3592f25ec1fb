import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import busboy from 'busboy'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { listFolder } from '../../../cli/local-files.ts'
import { uploadFiles } from '../../../cli/upload.ts'
import { type LocalServer, startServer } from './local-server.ts'

let folder = ''
let server: LocalServer | undefined

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tern-upload-'))
})
afterEach(async () => {
  await server?.close()
  server = undefined
  await rm(folder, { recursive: true })
})

/** Path and content of every part, as an independent parser reads them. */
function readParts(request: IncomingMessage): Promise<Record<string, string>> {
  return new Promise((resolve, reject) => {
    const parts: Record<string, string> = {}
    const parser = busboy({ headers: request.headers, preservePath: true })
    parser.on('file', (_, stream, { filename }) => {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', () => {
        parts[filename ?? ''] = Buffer.concat(chunks).toString('latin1')
      })
    })
    parser.on('close', () => resolve(parts))
    parser.on('error', reject)
    request.pipe(parser)
  })
}

describe('listFolder', () => {
  test('lists files by their path, sorted, without hidden ones and half-done downloads', async () => {
    await mkdir(join(folder, 'sub'))
    await mkdir(join(folder, '.git'))
    const names = ['b.txt', 'a.txt', 'sub/c.txt', '.hidden', '.git/config', 'x.safetensors.part']
    for (const name of names) await writeFile(join(folder, name), name)
    expect((await listFolder(folder)).map((file) => file.path)).toEqual(['a.txt', 'b.txt', 'sub/c.txt'])
  })

  test('says so when a folder is empty or not there', async () => {
    await expect(listFolder(folder)).rejects.toMatchObject({ code: 'INPUT_NOT_FOUND' })
    await expect(listFolder(join(folder, 'none'))).rejects.toMatchObject({ code: 'INPUT_NOT_FOUND' })
  })
})

describe('uploadFiles', () => {
  test('sends every file as a part named by its path, with the exact length announced', async () => {
    await mkdir(join(folder, 'sub'))
    await writeFile(join(folder, 'a.bin'), 'x'.repeat(3_000_000))
    await writeFile(join(folder, 'sub/b.json'), '{}')
    await writeFile(join(folder, 'empty'), '')
    const progress: number[][] = []
    let announced = 0
    server = await startServer(async (request, response) => {
      announced = Number(request.headers['content-length'])
      const parts = await readParts(request)
      response.writeHead(201).end(JSON.stringify(Object.entries(parts).map(([path, text]) => [path, text.length])))
    })
    const answer = await uploadFiles(server.target, '/', await listFolder(folder), (...step) => progress.push(step))
    expect(answer).toEqual([
      ['a.bin', 3_000_000],
      ['empty', 0],
      ['sub/b.json', 2],
    ])
    expect(progress.at(-1)).toEqual([announced, announced])
  })

  test('escapes quotes in a file name, so that they cannot end it', async () => {
    await writeFile(join(folder, 'a "q".txt'), 'x')
    server = await startServer(async (request, response) => {
      response.end(JSON.stringify(Object.keys(await readParts(request))))
    })
    const answer = await uploadFiles(server.target, '/', await listFolder(folder), () => {})
    expect(answer).toEqual(['a %22q%22.txt'])
  })

  const refusal = JSON.stringify({ error: { code: 'TOO_LARGE', message: 'over the limit', detail: {} } })

  test('sends no byte of the body when the server refuses it beforehand', async () => {
    await writeFile(join(folder, 'a.bin'), new Uint8Array(20_000_000))
    server = await startServer(
      () => {},
      (_, response) => response.writeHead(413).end(refusal),
    )
    const progress: number[] = []
    const sent = uploadFiles(server.target, '/', await listFolder(folder), (done) => progress.push(done))
    await expect(sent).rejects.toMatchObject({ code: 'TOO_LARGE' })
    expect(progress).toEqual([])
  })

  test('hands on a refusal that comes while the body is on its way', async () => {
    await writeFile(join(folder, 'a.bin'), new Uint8Array(20_000_000))
    server = await startServer((request, response) => {
      request.once('data', () => response.writeHead(422).end(refusal))
      request.resume()
    })
    const sent = uploadFiles(server.target, '/', await listFolder(folder), () => {})
    await expect(sent).rejects.toMatchObject({ code: 'TOO_LARGE', status: 422 })
  })

  test('sends the whole body again to a server that was busy', async () => {
    await writeFile(join(folder, 'a.bin'), 'content')
    let calls = 0
    server = await startServer(async (request, response) => {
      calls += 1
      const parts = await readParts(request)
      response.writeHead(calls === 1 ? 503 : 201, { 'retry-after': '0' })
      response.end(JSON.stringify(parts))
    })
    expect(await uploadFiles(server.target, '/', await listFolder(folder), () => {})).toEqual({ 'a.bin': 'content' })
  })

  test('refuses to send a file that changed after it was listed', async () => {
    await writeFile(join(folder, 'a.bin'), 'short')
    const files = await listFolder(folder)
    await writeFile(join(folder, 'a.bin'), 'longer than before')
    server = await startServer((request) => request.resume())
    await expect(uploadFiles(server.target, '/', files, () => {})).rejects.toMatchObject({
      code: 'INPUT_NOT_FOUND',
      message: expect.stringContaining('changed'),
    })
  })

  test('says which server cannot be reached', async () => {
    await writeFile(join(folder, 'a.bin'), 'x')
    server = await startServer(() => {})
    const { target } = server
    await server.close()
    server = undefined
    await expect(uploadFiles(target, '/', await listFolder(folder), () => {})).rejects.toMatchObject({
      code: 'SERVER_UNREACHABLE',
    })
  })
})
