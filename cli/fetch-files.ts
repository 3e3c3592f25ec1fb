/** Downloads a set of files into a folder, again if need be: what is there already and whole is left alone. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Run } from './context.ts'
import { digestOf, download } from './download.ts'
import { CliError } from './errors.ts'
import { requireAbsent } from './local-files.ts'

export interface RemoteFile {
  /** Path in the repo or result, and below the folder. */
  readonly path: string
  /** Path on the server. */
  readonly from: string
  /** `sha256:<hex>`, where it is known beforehand. */
  readonly digest: string | undefined
}

/**
 * Answers the bytes that were downloaded. Nothing is downloaded when one of the files is in the way: OUTPUT_EXISTS,
 * unless `force`.
 */
export async function fetchFiles(files: readonly RemoteFile[], dir: string, force: boolean, run: Run): Promise<number> {
  const missing: RemoteFile[] = []
  for (const file of files) {
    const target = join(dir, safePath(file.path))
    if (await isThere(target, file.digest, run.signal)) continue
    requireAbsent(target, force)
    missing.push(file)
  }
  let bytes = 0
  for (const { path, from, digest } of missing) {
    const progress = run.progress(path, 'bytes')
    const done = await download(run.server, { from, to: join(dir, path), digest, onProgress: progress.update })
    progress.finish()
    bytes += done.bytes
  }
  return bytes
}

async function isThere(target: string, digest: string | undefined, signal: AbortSignal): Promise<boolean> {
  return digest !== undefined && existsSync(target) && (await digestOf(target, signal)) === digest
}

/** A server that we do not know must not choose where on this machine it writes. */
function safePath(path: string): string {
  const parts = path.split('/')
  if (parts.some((part) => part === '' || part === '.' || part === '..' || /[\\:\0]/.test(part))) {
    throw new CliError('SERVER_ANSWER_INVALID', `the server names a file "${path}"`, { path })
  }
  return path
}
