import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { cleanEnv, ROOT, runProgram, type ServerProcess, startServer, tern } from './server-process.ts'
import { stores } from './stores.ts'

// Each command is a process of its own, and machines are slow and shared.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const EXAMPLES = join(ROOT, 'examples')
/** The Python of with-python.sh; another one on the path may lack the packages. */
const python = process.env.VIRTUAL_ENV === undefined ? undefined : 'python'

async function sha256(path: string): Promise<string> {
  return `sha256:${createHash('sha256')
    .update(await readFile(path))
    .digest('hex')}`
}

async function curl(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runProgram('curl', ['-sS', '-L', ...args])
  expect(code, stderr).toBe(0)
  return stdout
}

test.runIf(process.env.CI === 'true')('on CI there is the Python of scripts/with-python.sh', () => {
  expect(python, 'VIRTUAL_ENV is not set').toBeDefined()
})

describe.each(stores)('a server on $name', ({ missing, env }) => {
  describe.skipIf(missing)('as a process of its own', () => {
    let folder = ''
    let server: ServerProcess
    let serverEnv: Record<string, string> = {}
    /** The answer to the upload of examples/debsection by curl. */
    let uploaded: { revision: string; container: { digest: string; bytes: number }; ratio: number }

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'tern-service-'))
      serverEnv = env(folder)
      server = await startServer(serverEnv)
      const form = ['adapter_config.json', 'adapter_model.safetensors', 'README.md'].flatMap((name) => [
        '-F',
        `file=@${join(EXAMPLES, 'debsection', name)};filename=${name}`,
      ])
      uploaded = JSON.parse(await curl('-f', ...form, `${server.url}/v1/experts/demo/debsection/revisions?density=0.1`))
    })
    afterAll(async () => {
      await server.kill()
      await rm(folder, { recursive: true })
    })

    const cli = (...args: string[]) => tern([...args, '--server', server.url])
    const revisionUrl = () => `${server.url}/v1/experts/demo/debsection/revisions/main`

    test('takes an adapter by curl and answers with its revision, size and ratio', () => {
      expect(uploaded).toMatchObject({
        repo: 'demo/debsection',
        kind: 'lora',
        revision: expect.stringMatching(/^[0-9a-f]{40}$/),
        original_bytes: expect.any(Number),
      })
      expect(uploaded.ratio).toBeGreaterThan(20)
    })

    test('gives the container back whole, with the digest it promised', async () => {
      const file = join(folder, 'fetched.tern')
      await curl('-f', '-o', file, `${revisionUrl()}/expert.tern`)
      expect(await sha256(file)).toBe(uploaded.container.digest)
      expect((await readFile(file)).byteLength).toBe(uploaded.container.bytes)
    })

    test('gives any range of the container', async () => {
      const whole = join(folder, 'whole.tern')
      const part = join(folder, 'part.tern')
      await curl('-f', '-o', whole, `${revisionUrl()}/expert.tern`)
      await curl('-f', '-r', '1000-1999', '-o', part, `${revisionUrl()}/expert.tern`)
      expect(Buffer.compare(await readFile(part), (await readFile(whole)).subarray(1000, 2000))).toBe(0)
    })

    test('reconstructs the bytes that the command line reconstructs without it', async () => {
      const there = join(folder, 'there.safetensors')
      await curl('-f', '-o', there, `${revisionUrl()}/files/adapter_model.safetensors`)
      await curl('-f', '-o', join(folder, 'offline.tern'), `${revisionUrl()}/expert.tern`)
      const here = join(folder, 'here')
      expect(await tern(['decompress', join(folder, 'offline.tern'), here])).toMatchObject({ code: 0 })
      expect(await sha256(join(here, 'adapter_model.safetensors'))).toBe(await sha256(there))
    })

    test('compresses as the command line compresses without it', async () => {
      const target = join(folder, 'local.tern')
      await tern(['compress', join(EXAMPLES, 'debsection'), target, '--density', '0.1'])
      expect(await sha256(target)).toBe(uploaded.container.digest)
    })

    test.skipIf(python === undefined)('gives weights that the safetensors library of Python reads', async () => {
      const file = join(folder, 'python.safetensors')
      await curl('-f', '-o', file, `${revisionUrl()}/files/adapter_model.safetensors?dtype=float32`)
      const script = `import sys, json
from safetensors.numpy import load_file
tensors = load_file(sys.argv[1])
print(json.dumps([len(tensors), sum(t.size for t in tensors.values()), sorted({str(t.dtype) for t in tensors.values()})]))`
      const { code, stdout, stderr } = await runProgram(python ?? '', ['-c', script, file])
      expect(code, stderr).toBe(0)
      expect(JSON.parse(stdout)).toEqual([76, 680_460, ['float32']])
    })

    test('is pushed to and pulled from by the command line', async () => {
      const pushed = await cli('push', join(EXAMPLES, 'wnnoun'), 'demo/wnnoun', '--tag', 'v1', '--json')
      expect(pushed).toMatchObject({ code: 0 })
      const { revision, container } = JSON.parse(pushed.stdout)
      const pulled = join(folder, 'pulled')
      expect(await cli('pull', 'demo/wnnoun@v1', pulled)).toMatchObject({ code: 0 })
      expect((await readdir(pulled)).sort()).toEqual(['README.md', 'adapter_config.json', 'adapter_model.safetensors'])
      const compressed = join(folder, 'pulled-compressed')
      expect(await cli('pull', `demo/wnnoun@${revision}`, compressed, '--compressed')).toMatchObject({ code: 0 })
      expect(await sha256(join(compressed, 'expert.tern'))).toBe(container.digest)
    })

    test('takes up a download that broke off', async () => {
      const target = join(folder, 'resumed')
      const whole = join(folder, 'resumed-whole')
      await cli('pull', 'demo/debsection', whole)
      const bytes = await readFile(join(whole, 'adapter_model.safetensors'))
      await mkdir(target)
      await writeFile(join(target, 'adapter_model.safetensors.part'), bytes.subarray(0, 700_000))
      expect(await cli('pull', 'demo/debsection', target)).toMatchObject({ code: 0 })
      expect(Buffer.compare(await readFile(join(target, 'adapter_model.safetensors')), bytes)).toBe(0)
    })

    test('pulls again only what is not there, and does not touch what differs', async () => {
      const target = join(folder, 'again')
      await cli('pull', 'demo/debsection', target)
      const again = await cli('pull', 'demo/debsection', target, '--json')
      expect(JSON.parse(again.stdout).bytes).toBe(0)
      await writeFile(join(target, 'README.md'), 'my own notes')
      expect(await cli('pull', 'demo/debsection', target)).toMatchObject({
        code: 1,
        stderr: expect.stringMatching('OUTPUT_EXISTS'),
      })
      expect(await readFile(join(target, 'README.md'), 'utf8')).toBe('my own notes')
      expect(await cli('pull', 'demo/debsection', target, '--force')).toMatchObject({ code: 0 })
      expect(await readFile(join(target, 'README.md'), 'utf8')).not.toBe('my own notes')
    })

    test('merges by the YAML of the examples, and again with the same bytes', async () => {
      await cli('push', join(EXAMPLES, 'wnnoun'), 'demo/wnnoun')
      const first = await cli('merge', join(EXAMPLES, 'merge.yml'), join(folder, 'merged'))
      expect(first).toMatchObject({ code: 0 })
      await cli('merge', join(EXAMPLES, 'merge.yml'), join(folder, 'merged-again'))
      expect((await readdir(join(folder, 'merged'))).sort()).toEqual([
        'adapter_config.json',
        'adapter_model.safetensors',
        'mergekit_config.yml',
      ])
      const weights = 'adapter_model.safetensors'
      expect(await sha256(join(folder, 'merged-again', weights))).toBe(await sha256(join(folder, 'merged', weights)))
    })

    test('answers a bad recipe by the command line with its code and line, and writes nothing', async () => {
      await writeFile(
        join(folder, 'bad.yml'),
        'merge_method: cat\nmodels:\n  - model: demo/nobody\n    parameters: {weight: 1}\n',
      )
      const { code, stderr } = await cli('merge', join(folder, 'bad.yml'), join(folder, 'bad'))
      expect(code).toBe(1)
      expect(stderr).toMatch(/MERGE_INPUT_NOT_FOUND: .*line 3.*demo\/nobody/)
      expect(existsSync(join(folder, 'bad'))).toBe(false)
    })

    test('shows what a revision holds', async () => {
      const { stdout } = await cli('inspect', 'demo/debsection')
      expect(stdout).toMatch(/^kind +lora$/m)
      expect(stdout).toMatch(/expert\.tern \(/)
      expect(stdout).toMatch(uploaded.revision)
    })

    test('says what a name on the command line lacks', async () => {
      const { code, stderr } = await cli('pull', 'demo/nobody', join(folder, 'nobody'))
      expect(code).toBe(1)
      expect(stderr).toMatch('REPO_NOT_FOUND')
      expect(existsSync(join(folder, 'nobody'))).toBe(false)
    })

    test('stops on SIGTERM with exit code 0, after finishing the upload that is under way', async () => {
      const late = runProgram('curl', [
        '-sS',
        '-f',
        '-F',
        `file=@${join(EXAMPLES, 'debsection/adapter_config.json')};filename=adapter_config.json`,
        '-F',
        `file=@${join(EXAMPLES, 'debsection/adapter_model.safetensors')};filename=adapter_model.safetensors`,
        `${server.url}/v1/experts/demo/late/revisions`,
      ])
      await untilSpooling(serverEnv)
      expect(await server.stop()).toBe(0)
      const { code, stdout, stderr } = await late
      expect(code, stderr).toBe(0)
      expect(JSON.parse(stdout).repo).toBe('demo/late')
      expect(await leftovers(serverEnv)).toEqual([])
      server = await startServer(serverEnv)
      expect(JSON.parse(await curl('-f', `${server.url}/v1/experts/demo/late`)).repo).toBe('demo/late')
    })

    test('has a store that verify finds nothing wrong with, and gc nothing to delete in', async () => {
      const verified = await tern(['verify', '--json'], serverEnv)
      expect(verified).toMatchObject({ code: 0 })
      expect(JSON.parse(verified.stdout)).toMatchObject({ problems: [], repos: 3 })
      const collected = await tern(['gc', '--grace-hours', '0', '--json'], serverEnv)
      expect(JSON.parse(collected.stdout)).toMatchObject({ dry_run: true, keys: [] })
    })

    test('answers the same after its index was lost and rebuilt from the store', async () => {
      const before = await curl('-f', `${server.url}/v1/experts/demo/wnnoun`)
      await server.stop()
      for (const suffix of ['', '-wal', '-shm']) await rm(join(folder, `index.db${suffix}`), { force: true })
      const rebuilt = await tern(['reindex', '--json'], serverEnv)
      expect(rebuilt, rebuilt.stderr).toMatchObject({ code: 0 })
      expect(JSON.parse(rebuilt.stdout)).toMatchObject({ repos: 3, problems: [] })
      server = await startServer(serverEnv)
      expect(JSON.parse(await curl('-f', `${server.url}/v1/experts/demo/wnnoun`))).toEqual(JSON.parse(before))
    })

    test('refuses a second server on the same spool', async () => {
      await expect(startServer(serverEnv)).rejects.toThrow(/CONFIG_INVALID|is in use|locked/)
    })
  })
})

/** What uploads have left in the spool; the server removes its folder when it stops. */
function leftovers(env: Readonly<Record<string, string>>): Promise<string[]> {
  return readdir(join(env.TERN_SPOOL_DIR ?? '', 'uploads')).catch(() => [])
}

/** Resolves when the server has begun to write an upload to disk. */
async function untilSpooling(env: Readonly<Record<string, string>>): Promise<void> {
  while ((await leftovers(env)).length === 0) await new Promise((resolve) => setImmediate(resolve))
}

test('npm start serves, whatever Node runs npm', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tern-npm-'))
  const env = cleanEnv({ TERN_PORT: '0', TERN_STORE_URL: `file:${join(folder, 'store')}` })
  // As in a shell outside of npm: the machine's own Node first.
  env.PATH = (env.PATH ?? '')
    .split(':')
    .filter((part) => !part.includes('node_modules'))
    .join(':')
  const { spawn } = await import('node:child_process')
  const child = spawn('npm', ['start'], { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  try {
    let out = ''
    for await (const chunk of child.stdout) {
      out += String(chunk)
      const url = /"url":"([^"]+)".*"msg":"listening"/.exec(out)?.[1]
      if (url === undefined) continue
      expect((await fetch(`${url}/healthz`)).status).toBe(200)
      break
    }
    expect(out).toContain('"msg":"listening"')
  } finally {
    // npm, its shell and the server are one process group.
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM')
    await new Promise((resolve) => child.once('close', resolve))
    await rm(folder, { recursive: true, force: true })
  }
})
