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
  try {
    for await (const chunk of stream) {
      signal.throwIfAborted()
      await file.writeFile(chunk)
      done += chunk.byteLength
      onBytes?.(done)
    }
    await file.sync()
    return done
  } finally {
    await file.close()
  }
}
