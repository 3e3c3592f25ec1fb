/** Runs an action for every item, `width` at a time. The first failure stops the rest and is thrown. */
export async function forEachOf<T>(
  items: Iterable<T>,
  width: number,
  action: (item: T) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const queue = items[Symbol.iterator]()
  let failed = false
  const worker = async () => {
    for (let next = queue.next(); next.done !== true && !failed; next = queue.next()) {
      signal?.throwIfAborted()
      await action(next.value).catch((error: unknown) => {
        failed = true
        throw error
      })
    }
  }
  // Settled, not raced: nothing may still be writing when the caller cleans up.
  const results = await Promise.allSettled(Array.from({ length: width }, worker))
  for (const result of results) if (result.status === 'rejected') throw result.reason
}
