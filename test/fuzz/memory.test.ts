import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bombs } from './bombs.ts'

/** What the limits of FORMAT.md, section 12, add up to, whatever a file of a kilobyte claims. */
const MOST_GROWN = 450 * 2 ** 20
const CHILD = fileURLToPath(new URL('memory-child.ts', import.meta.url))

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tern-bombs-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('a small container that claims as much as it can', () => {
  test.each(bombs())('opens or is refused within the memory that the limits allow: $name', ({ name, file }) => {
    const path = join(folder, name)
    writeFileSync(path, file)
    const { stdout, stderr, status } = spawnSync(process.execPath, ['--max-old-space-size=384', CHILD, path], {
      encoding: 'utf8',
    })
    expect([status, stderr]).toEqual([0, ''])
    const { outcome, message, grown } = JSON.parse(stdout) as { outcome: string; message: number; grown: number }
    expect(outcome).toMatch(/^(opened|CONTAINER_INVALID)$/)
    expect(message).toBeLessThan(1000)
    expect(grown).toBeLessThan(MOST_GROWN)
  })
})
