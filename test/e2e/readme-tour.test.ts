/** Runs every command of the tour in README.md, in order, as a reader would, and compares what it shows. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { ROOT, runProgram, type ServerProcess, startServer } from './server-process.ts'

// Each command is a process of its own, and machines are slow and shared.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 })

interface Step {
  readonly commands: string
  /** Lines that the README shows below the commands; `…` stands for anything. */
  readonly shown: readonly string[]
}

const MARK = '--- end of step ---'

let folder = ''
let server: ServerProcess
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tern-tour-'))
  server = await startServer({ TERN_STORE_URL: storeUrl() })
})
afterAll(async () => {
  await server.kill()
  await rm(folder, { recursive: true })
})

function storeUrl(): string {
  return `file:${join(folder, 'store')}`
}

test('every command of the tour works and shows what the README says', async () => {
  const steps = tourSteps(await readFile(join(ROOT, 'README.md'), 'utf8'))
  expect(steps.length).toBeGreaterThan(6)
  const script = ['set -euo pipefail', ...steps.map(({ commands }) => `${commands}\necho '${MARK}'`)].join('\n')
  const { code, stdout, stderr } = await runProgram('bash', ['-c', script], {
    cwd: ROOT,
    env: { TERN_URL: server.url, TERN_STORE_URL: storeUrl(), TMPDIR: folder },
  })
  expect(code, stderr).toBe(0)
  const outputs = stdout.split(`${MARK}\n`)
  for (const [index, { shown }] of steps.entries()) expectShown(outputs[index] ?? '', shown)
})

test('shows the output of every step that has one', async () => {
  const steps = tourSteps(await readFile(join(ROOT, 'README.md'), 'utf8'))
  expect(steps.slice(1).filter(({ shown }) => shown.length === 0)).toEqual([])
})

/** Blocks marked `sh` between the heading of the tour and the next one, each with the `text` block after it. */
function tourSteps(readme: string): Step[] {
  const tour = /^## Five-minute tour\n([\s\S]*?)^## /m.exec(readme)?.[1] ?? ''
  const blocks = [...tour.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language, text = '']) => ({
    language,
    text,
  }))
  return blocks.flatMap(({ language, text }, index) => {
    if (language !== 'sh') return []
    const next = blocks[index + 1]
    return [{ commands: text, shown: next?.language === 'text' ? next.text.trimEnd().split('\n') : [] }]
  })
}

function expectShown(output: string, shown: readonly string[]): void {
  const lines = output.split('\n').map((line) => line.trimEnd())
  for (const line of shown) {
    const pattern = new RegExp(
      `^${line
        .split('…')
        .map((part) => literally(part))
        .join('.*')}$`,
    )
    expect(
      lines.some((candidate) => pattern.test(candidate)),
      `"${line}" in\n${output}`,
    ).toBe(true)
  }
}

function literally(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
