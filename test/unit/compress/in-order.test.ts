import { describe, expect, test } from 'vitest'
import { runInOrder } from '../../../compress/in-order.ts'

/** A promise to be settled by hand. */
function deferred<T>() {
  let resolve: (value: T) => void = () => {}
  let reject: (error: unknown) => void = () => {}
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

describe('ordered work', () => {
  test('consumes in the order of the items, whichever is done first', async () => {
    const gates = [deferred<string>(), deferred<string>(), deferred<string>()]
    const seen: string[] = []
    const work = runInOrder({
      items: [0, 1, 2],
      width: 3,
      start: (i) => gates[i]!.promise,
      consume: (result) => void seen.push(result),
    })
    gates[2]!.resolve('c')
    gates[0]!.resolve('a')
    gates[1]!.resolve('b')
    await work
    expect(seen).toEqual(['a', 'b', 'c'])
  })

  test('never has more in hand than its width', async () => {
    let open = 0
    let most = 0
    await runInOrder({
      items: [...Array(20).keys()],
      width: 3,
      start: async (i) => {
        open++
        most = Math.max(most, open)
        await Promise.resolve()
        return i
      },
      consume: () => {
        open--
      },
    })
    expect(most).toBe(3)
  })

  test('fails with the first failure, and only when the rest has come to rest', async () => {
    const slow = deferred<number>()
    let rested = false
    const work = runInOrder({
      items: [0, 1],
      width: 2,
      start: (i, signal) => {
        if (i === 0) return Promise.reject(new Error('first'))
        signal.addEventListener('abort', () => {
          rested = true
          slow.reject(signal.reason)
        })
        return slow.promise
      },
      consume: () => {},
    })
    await expect(work).rejects.toThrow('first')
    expect(rested).toBe(true)
  })

  test('stops when the caller gives up, with the reason given', async () => {
    const controller = new AbortController()
    const started: number[] = []
    const work = runInOrder({
      items: [0, 1, 2, 3],
      width: 1,
      signal: controller.signal,
      start: async (i) => {
        started.push(i)
      },
      consume: (_, i) => {
        if (i === 1) controller.abort(new Error('enough'))
      },
    })
    await expect(work).rejects.toThrow('enough')
    expect(started.length).toBeLessThan(4)
  })

  test('fails when consuming fails', async () => {
    const work = runInOrder({
      items: [0],
      width: 1,
      start: async () => 0,
      consume: () => Promise.reject(new Error('full')),
    })
    await expect(work).rejects.toThrow('full')
  })

  test('does nothing for no items', async () => {
    await runInOrder({ items: [], width: 2, start: async () => 0, consume: () => {} })
  })
})
