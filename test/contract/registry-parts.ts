/** What the tests of the registry build: parts, files, publish requests; and how they look at a store. */
import type { BlobStore } from '../../registry/blob-store.ts'
import { type Digest, sha256 } from '../../registry/digest.ts'
import type { RegistryIndex } from '../../registry/index.ts'
import type { PublishFile, PublishRequest } from '../../registry/publish.ts'
import type { Registry } from '../../registry/registry.ts'

export interface Parts {
  readonly store: BlobStore
  readonly index: RegistryIndex
}

/** For gc: nothing is too young to be collected. */
export const NOW = { graceSeconds: 0, unfinishedSeconds: 0 }

export function textFile(path: string, content: string): PublishFile {
  const body = new TextEncoder().encode(content)
  return { path, digest: sha256(body), size: body.byteLength, media_type: 'text/plain', body }
}

export function request(repo: string, content: string, more: Partial<PublishRequest> = {}): PublishRequest {
  const files = [textFile('README.md', `about ${repo}`), textFile('expert.tern', content)]
  const derived = [{ path: 'adapter_model.safetensors', digest: sha256(new Uint8Array(7)), size: 7, media_type: 'a/b' }]
  return { repo, type: 'expert', files, derived, annotations: { kind: 'lora' }, ...more }
}

export async function keysOf(store: BlobStore): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list('')) keys.push(key)
  return keys.sort()
}

export async function textOf(registry: Registry, digest: Digest): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of await registry.openBlob(digest)) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}
