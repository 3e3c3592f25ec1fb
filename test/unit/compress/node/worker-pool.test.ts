import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Executor } from '../../../../compress/executor.ts'
import { workerPool } from '../../../../compress/node/worker-pool.ts'

const FAILING = fileURLToPath(new URL('./failing-worker.ts', import.meta.url))
const BROKEN = fileURLToPath(new URL('./broken-worker.ts', import.meta.url))

function pool(threads: number, file = FAILING): Executor {
  const executor = workerPool(threads, file)
  onTestFinished(() => executor.close())
  return executor
}

function run(executor: Executor, name: string, signal?: AbortSignal): Promise<unknown> {
  const location = { path: '', start: 0, end: 0, dtype: 'F32', shape: [] } as const
  return executor.run(
    'measureUnit',
    { unit: { kind: 'tensor', tensor: { name, location, origin: 0 } }, transform: 'none' },
    signal,
  )
}

describe('the worker pool', () => {
  test('rejects the task whose thread died, and runs the next', async () => {
    const executor = pool(1)
    await expect(run(executor, 'die')).rejects.toThrow(/exited/)
    expect(await run(executor, 'fine')).toBe('fine')
  })

  test('runs tasks that were waiting when a thread died', async () => {
    const executor = pool(1)
    const results = await Promise.allSettled([run(executor, 'die'), run(executor, 'a'), run(executor, 'b')])
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
  })

  test('hands on a plain error as what it is', async () => {
    await expect(run(pool(1), 'bug')).rejects.toThrow(new TypeError('a bug in a task'))
  })

  test('rejects instead of waiting when no thread can start', async () => {
    const executor = pool(2, BROKEN)
    await expect(run(executor, 'a')).rejects.toThrow('does not load')
  })

  test('ends a running task when it is given up, with the reason', async () => {
    const executor = pool(1)
    await run(executor, 'warm')
    const controller = new AbortController()
    const task = run(executor, 'slow', controller.signal)
    controller.abort(new Error('enough'))
    await expect(task).rejects.toThrow('enough')
    expect(await run(executor, 'after')).toBe('after')
  })

  test('rejects what still runs when it is closed', async () => {
    const executor = pool(1)
    await run(executor, 'warm')
    const task = run(executor, 'slow')
    const outcome = expect(task).rejects.toThrow()
    await executor.close()
    await outcome
  })

  test('does not keep the process alive when it is idle', async () => {
    const { Worker } = await import('node:worker_threads')
    const source = `
      const { workerPool } = await import(${JSON.stringify(new URL('../../../../compress/node/worker-pool.ts', import.meta.url).href)})
      const executor = workerPool(1, ${JSON.stringify(FAILING)})
      const location = { path: '', start: 0, end: 0, dtype: 'F32', shape: [] }
      await executor.run('measureUnit', { unit: { kind: 'tensor', tensor: { name: 'x', location, origin: 0 } }, transform: 'none' })`
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`))
    const [code] = await once(worker, 'exit')
    expect(code).toBe(0)
  })
})
