/** From the store URL of the configuration to a store. */
import type { BlobStore } from './blob-store.ts'
import { openFsStore } from './blob-store-fs.ts'
import { MemoryBlobStore } from './blob-store-memory.ts'
import type { S3StoreOptions } from './blob-store-s3.ts'
import { RegistryError } from './errors.ts'

/**
 * `memory:` | `file:<folder>` | `s3://bucket/prefix?endpoint=&region=&public_endpoint=&path_style=&signed_urls=`.
 * Credentials come from the environment (AWS_ACCESS_KEY_ID, ...), never from the URL. Throws URL_INVALID.
 */
export async function openStore(url: string): Promise<BlobStore> {
  if (url === 'memory:') return new MemoryBlobStore()
  if (url.startsWith('file:')) return openFsStore(folderOf(url))
  if (url.startsWith('s3:')) {
    const options = parseS3Url(url)
    // Loaded on demand: the SDK takes longer to load than all the rest, and the folder store does without.
    const { S3BlobStore } = await import('./blob-store-s3.ts')
    return new S3BlobStore(options)
  }
  throw invalid(url, 'it begins with none of "file:", "s3:", "memory:"')
}

/** `file:data`, `file:./data`, `file:/data` and `file:///data` alike. */
function folderOf(url: string): string {
  const folder = decodeURIComponent(url.slice('file:'.length).replace(/^\/\/(?=\/)/, ''))
  if (folder === '') throw invalid(url, 'it names no folder')
  if (folder.startsWith('//')) throw invalid(url, 'a folder on another host cannot be opened')
  return folder
}

const S3_PARAMETERS = ['endpoint', 'region', 'public_endpoint', 'path_style', 'signed_urls']

export function parseS3Url(url: string): S3StoreOptions {
  const parsed = URL.parse(url)
  if (parsed === null || parsed.hostname === '') throw invalid(url, 'it must read s3://bucket/prefix?endpoint=...')
  if (parsed.username !== '' || parsed.password !== '') throw invalid(url, 'credentials belong into the environment')
  const query = parsed.searchParams
  const unknown = [...query.keys()].find((name) => !S3_PARAMETERS.includes(name))
  if (unknown !== undefined) throw invalid(url, `unknown parameter "${unknown}"; known: ${S3_PARAMETERS.join(', ')}`)
  const prefix = decodeURIComponent(parsed.pathname).replace(/^\/+|\/+$/g, '')
  const endpoint = httpUrl(url, query, 'endpoint')
  const publicEndpoint = httpUrl(url, query, 'public_endpoint')
  const region = query.get('region')
  const pathStyle = flag(url, query, 'path_style')
  const signedUrls = flag(url, query, 'signed_urls')
  return {
    bucket: parsed.hostname,
    prefix: prefix === '' ? '' : `${prefix}/`,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(publicEndpoint === undefined ? {} : { publicEndpoint }),
    ...(region === null ? {} : { region }),
    ...(pathStyle === undefined ? {} : { pathStyle }),
    ...(signedUrls === undefined ? {} : { signedUrls }),
  }
}

function httpUrl(url: string, query: URLSearchParams, name: string): string | undefined {
  const value = query.get(name)
  if (value === null) return undefined
  const protocol = URL.parse(value)?.protocol
  if (protocol !== 'http:' && protocol !== 'https:') throw invalid(url, `${name} is not an http(s) URL`)
  return value
}

function flag(url: string, query: URLSearchParams, name: string): boolean | undefined {
  const value = query.get(name)
  if (value === null) return undefined
  if (value !== 'true' && value !== 'false') throw invalid(url, `${name} must be true or false`)
  return value === 'true'
}

function invalid(url: string, why: string): RegistryError {
  // Never repeat the URL whole: someone will have put a password into it.
  const scheme = url.slice(0, url.indexOf(':') + 1)
  return new RegistryError('URL_INVALID', `store URL "${scheme}...": ${why}`, { scheme })
}
