/** Where the S3 server of the tests is (scripts/with-s3.sh starts one), and a prefix of its own for every store. */
import { randomUUID } from 'node:crypto'
import type { BlobStore } from '../../registry/blob-store.ts'
import { openStore } from '../../registry/open-store.ts'

export const s3Endpoint = process.env['S3_ENDPOINT']

/** On CI a missing server is a failure, elsewhere a visible skip. */
export const s3Required = process.env['CI'] === 'true'

export function s3Url(prefix: string = randomUUID()): string {
  const bucket = process.env['S3_BUCKET'] ?? 'tern-test'
  return `s3://${bucket}/${prefix}?endpoint=${encodeURIComponent(s3Endpoint ?? '')}`
}

export function s3Store(prefix?: string): Promise<BlobStore> {
  return openStore(s3Url(prefix))
}
