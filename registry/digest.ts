/** Content addresses: `sha256:<64 lower-case hex>`, OCI's spelling. */
import { createHash, type Hash } from 'node:crypto'

export type Digest = `sha256:${string}`

const PATTERN = /^sha256:[0-9a-f]{64}$/

/** Clients of the Hub insist on revisions of 40 hex digits: the first 40 of the manifest's digest. */
const REVISION_LENGTH = 40

export function isDigest(value: unknown): value is Digest {
  return typeof value === 'string' && PATTERN.test(value)
}

export function sha256(bytes: Uint8Array): Digest {
  return digestOf(createHash('sha256').update(bytes))
}

/** Digest of everything the iterable yields, and how many bytes that was. */
export async function sha256OfStream(
  stream: AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<{ digest: Digest; size: number }> {
  const hasher = new DigestHasher()
  for await (const chunk of stream) {
    signal?.throwIfAborted()
    hasher.update(chunk)
  }
  return { digest: hasher.digest(), size: hasher.size }
}

/** Hashes and counts bytes that pass by. */
export class DigestHasher {
  size = 0
  readonly #hash: Hash = createHash('sha256')

  update(chunk: Uint8Array): void {
    this.size += chunk.byteLength
    this.#hash.update(chunk)
  }

  /** Ends the hash: call once. */
  digest(): Digest {
    return digestOf(this.#hash)
  }
}

/** The 64 hex digits without the algorithm. */
export function digestHex(digest: Digest): string {
  return digest.slice('sha256:'.length)
}

/** The revision that clients see: 40 hex digits. */
export function revisionOf(digest: Digest): string {
  return digestHex(digest).slice(0, REVISION_LENGTH)
}

export function isRevision(value: string): boolean {
  return /^[0-9a-f]{40}$/.test(value)
}

function digestOf(hash: Hash): Digest {
  return `sha256:${hash.digest('hex')}`
}
