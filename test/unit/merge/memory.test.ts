import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

const CHILD = fileURLToPath(new URL('memory-child.ts', import.meta.url))
/** One tensor in f32. */
const TENSOR_MIB = 2
const [FEW, MANY] = [16, 80]

async function peakMiB(method: string, tensors: number): Promise<number> {
  const { stdout } = await promisify(execFile)(process.execPath, [CHILD, method, String(tensors)])
  return Number(stdout)
}

describe.each(['ties', 'task_arithmetic'])('the peak memory of %s', (method) => {
  it('does not grow with the number of tensors', { timeout: 180_000 }, async () => {
    const few = await peakMiB(method, FEW)
    const many = await peakMiB(method, MANY)
    expect(few).toBeGreaterThan(TENSOR_MIB)
    // Half of what a single copy of the larger model would add.
    expect(many - few).toBeLessThan(((MANY - FEW) * TENSOR_MIB) / 2)
  })
})
