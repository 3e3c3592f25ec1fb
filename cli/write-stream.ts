/** Writes a stream of bytes to a file, and has them on disk when it returns. */
import { open } from 'node:fs/promises'

export async function writeStream(
  path: string,
  stream: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  onBytes?: (done: number) => void,
): Promise<number> {
  const file = await open(path, 'w')
  let done = 0
  // One chunk is being written while the next is made.
  let writing: Promise<void> = Promise.resolve()
  try {
    for await (const chunk of stream) {
      signal.throwIfAborted()
      await writing
      writing = file.writeFile(chunk)
      writing.catch(() => {})
      done += chunk.byteLength
      onBytes?.(done)
    }
    await writing
    await file.sync()
    return done
  } finally {
    await writing.catch(() => {})
    await file.close()
  }
}
