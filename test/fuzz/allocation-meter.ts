/** Counts the bytes of typed arrays that code asks for, so that a frame of some bytes cannot ask for megabytes unseen. */

let requested = 0
let installed = false

const METERED = ['Uint8Array', 'Int8Array', 'Uint16Array', 'Uint32Array', 'Float32Array', 'Float64Array'] as const

/** From here on every `new Uint8Array(n)` and its like is counted, in this thread, for good. */
export function meterAllocations(): void {
  if (installed) return
  installed = true
  const globals = globalThis as unknown as Record<string, new (...values: unknown[]) => object>
  for (const name of METERED) {
    const original = globals[name]!
    const size = (original as unknown as { BYTES_PER_ELEMENT: number }).BYTES_PER_ELEMENT
    globals[name] = new Proxy(original, {
      construct(target, values, self) {
        const [length] = values
        if (typeof length === 'number') requested += length * size
        return Reflect.construct(target, values, self === globals[name] ? target : self)
      },
    })
  }
}

/** Bytes asked for while `work` ran. */
export function bytesRequested(work: () => void): number {
  const before = requested
  work()
  return requested - before
}
