import { describe, expect, test } from 'vitest'
import { Gate } from '../../../server/service/gate.ts'

/** Work that ends when the test says so. */
function held() {
  let finish: () => void = () => {}
  const done = new Promise<void>((resolve) => {
    finish = resolve
  })
  return { finish, work: () => done }
}

/** Lets everything that is ready run. */
const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('a gate', () => {
  test('lets in as many as it is wide, the others in order', async () => {
    const gate = new Gate(2)
    const log: string[] = []
    const works = ['a', 'b', 'c', 'd'].map((name) => ({ name, ...held() }))
    const runs = works.map(({ name, work }) =>
      gate.run(async () => {
        log.push(name)
        await work()
      }),
    )
    await turn()
    expect(log).toEqual(['a', 'b'])
    works[1]?.finish()
    await runs[1]
    await turn()
    expect(log).toEqual(['a', 'b', 'c'])
    for (const { finish } of works) finish()
    await Promise.all(runs)
    expect(log).toEqual(['a', 'b', 'c', 'd'])
  })

  test('forgets a waiter that gives up', async () => {
    const gate = new Gate(1)
    const first = held()
    const running = gate.run(first.work)
    const abort = new AbortController()
    const waiting = gate.run(async () => 'never', abort.signal)
    abort.abort(new Error('gave up'))
    await expect(waiting).rejects.toThrow('gave up')
    first.finish()
    await running
    expect(await gate.run(async () => 'next')).toBe('next')
  })

  test('makes room when work fails', async () => {
    const gate = new Gate(1)
    await expect(gate.run(() => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(await gate.run(async () => 1)).toBe(1)
  })
})
