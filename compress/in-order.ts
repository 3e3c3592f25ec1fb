/** Runs work ahead and consumes its results in order, with a bound on what is in memory. */

export interface OrderedWork<T, R> {
  readonly items: readonly T[]
  /** Items in progress or waiting to be consumed, at most. */
  readonly width: number
  /** May run beside others. The signal fires when the work has failed elsewhere or the caller gave up. */
  readonly start: (item: T, signal: AbortSignal) => Promise<R>
  /** Called in the order of the items, never twice at once. */
  readonly consume: (result: R, item: T) => Promise<void> | void
  readonly signal?: AbortSignal | undefined
}

/** Rejects with the first failure, and not before everything that was started has come to rest. */
export async function runInOrder<T, R>({ items, width, start, consume, signal }: OrderedWork<T, R>): Promise<void> {
  const stop = new AbortController()
  const inner = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal])
  const ahead = Math.max(1, width)
  const running = new Map<number, Promise<R>>()
  const startAt = (index: number) => {
    if (index >= items.length) return
    const result = start(items[index] as T, inner)
    // Awaited below, or settled in `finally`: a failure in between must not count as unhandled.
    result.catch(() => {})
    running.set(index, result)
  }
  try {
    for (let index = 0; index < ahead; index++) startAt(index)
    for (const [index, item] of items.entries()) {
      inner.throwIfAborted()
      await consume(await (running.get(index) as Promise<R>), item)
      running.delete(index)
      startAt(index + ahead)
    }
  } finally {
    stop.abort(new Error('the work was given up'))
    await Promise.allSettled(running.values())
  }
}
