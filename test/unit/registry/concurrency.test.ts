/** A few at a time, and nothing left running after a failure. */
import { expect, test } from 'vitest'
import { forEachOf } from '../../../registry/concurrency.ts'

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

test('runs every item, at most as many at once as asked', async () => {
  const seen: number[] = []
  let running = 0
  let most = 0
  await forEachOf([1, 2, 3, 4, 5, 6, 7], 3, async (item) => {
    running += 1
    most = Math.max(most, running)
    await turn()
    seen.push(item)
    running -= 1
  })
  expect(seen.toSorted()).toEqual([1, 2, 3, 4, 5, 6, 7])
  expect(most).toBe(3)
})

test('begins nothing after a failure, and waits for what had begun', async () => {
  const begun: number[] = []
  let ended = 0
  const run = forEachOf([1, 2, 3, 4, 5, 6], 2, async (item) => {
    begun.push(item)
    if (item === 1) throw new Error('first')
    await turn()
    ended += 1
  })
  await expect(run).rejects.toThrow('first')
  expect(begun).toEqual([1, 2])
  expect(ended).toBe(1)
})

test('stops when it is aborted', async () => {
  const abort = new AbortController()
  let count = 0
  const run = forEachOf(
    Array.from({ length: 100 }),
    2,
    async () => {
      count += 1
      abort.abort()
      await turn()
    },
    abort.signal,
  )
  await expect(run).rejects.toMatchObject({ name: 'AbortError' })
  expect(count).toBeLessThan(3)
})
