/** The second reader, in Python and written from the specification alone, must agree with the vectors too. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const usable = 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))'
const hasPython = spawnSync('python3', ['-c', usable]).status === 0

/** Where CI says it is CI, a missing Python is a failure and no reason to skip. */
describe.skipIf(!hasPython && process.env.CI !== 'true')('the Python reader', () => {
  test('reads every valid vector and refuses every invalid one', { timeout: 300_000 }, () => {
    const command = ['python', '-m', 'unittest', 'discover', '-v', '-s', 'python/tests', '-t', 'python']
    const { status, stderr } = spawnSync('scripts/with-python.sh', command, { cwd: ROOT, encoding: 'utf8' })
    expect(stderr).toMatch(/\nOK\n$/)
    expect(Number(/Ran (\d+) tests/.exec(stderr)?.[1])).toBeGreaterThanOrEqual(6)
    expect(status).toBe(0)
  })
})
