/** The files that the Dockerfile copies, and no others, start a server: there is no engine here to build the image. */
import { cp, mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT, startServer } from './server-process.ts'

test('what the image holds starts, takes an adapter and gives it back', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tern-image-'))
  const app = join(folder, 'app')
  try {
    const dockerfile = await readFile(join(ROOT, 'Dockerfile'), 'utf8')
    const copies = [...dockerfile.matchAll(/^COPY (?!--from)(.+)$/gm)].map(([, words = '']) => words.split(/\s+/))
    for (const source of copies.flatMap((words) => words.slice(0, -1))) {
      const skipped = join(ROOT, 'compress/kernels/assembly')
      await cp(join(ROOT, source), join(app, source), { recursive: true, filter: (path) => path !== skipped })
    }
    await symlink(join(ROOT, 'node_modules'), join(app, 'node_modules'))
    const env = { TERN_STORE_URL: `file:${join(folder, 'store')}` }
    const server = await startServer(env, join(app, 'bin/tern.mjs'))
    try {
      const form = new FormData()
      for (const name of ['adapter_config.json', 'adapter_model.safetensors']) {
        form.append('file', new Blob([await readFile(join(ROOT, 'examples/wnnoun', name))]), name)
      }
      const pushed = await fetch(`${server.url}/v1/experts/demo/wnnoun/revisions`, { method: 'POST', body: form })
      expect(pushed.status).toBe(201)
      const path = '/v1/experts/demo/wnnoun/revisions/main/files/adapter_model.safetensors'
      expect((await fetch(server.url + path)).status).toBe(200)
      expect((await fetch(`${server.url}/openapi.json`)).status).toBe(200)
      expect(await server.stop()).toBe(0)
    } finally {
      await server.kill()
    }
  } finally {
    await rm(folder, { recursive: true })
  }
})
