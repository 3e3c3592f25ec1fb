/** Lets timers, sockets and a cancellation in between two stretches of arithmetic. */
export async function yieldToEvents(signal?: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    setImmediate(resolve)
  })
  signal?.throwIfAborted()
}
