/** Publishing bases. */
import { z } from 'zod'
import type { PublishedBase as Published } from '../../service/ingest.ts'
import { repoOf, repoParams } from '../parameters.ts'
import { type AnyRoute, route } from '../route.ts'
import { PublishedBase } from '../schemas.ts'
import { uploadBody, uploadSpec } from '../upload-body.ts'
import { repoRoutes } from './repos.ts'

/** What every upload may be refused for. */
export const UPLOAD_ERRORS = [
  'NAME_INVALID',
  'PATH_INVALID',
  'PATH_DUPLICATE',
  'MEDIA_TYPE_UNSUPPORTED',
  'TOO_LARGE',
  'SPOOL_FULL',
  'UPLOAD_INCOMPLETE',
  'FILE_MISSING',
  'FILE_REFUSED',
  'SAFETENSORS_INVALID',
  'SAFETENSORS_HEADER_TOO_LARGE',
  'DTYPE_UNSUPPORTED',
  'REPO_CONFLICT',
  'REF_CONFLICT',
  'LIMIT_EXCEEDED',
  'STORE_UNAVAILABLE',
] as const

export const publishQuery = z.strictObject({
  branch: z.string().optional().describe('branch to publish to; default main'),
  tag: z.string().optional().describe('also set this tag'),
})

export const baseRoutes: readonly AnyRoute[] = [
  ...repoRoutes('base'),
  route({
    method: 'post',
    path: '/v1/bases/{ns}/{name}/revisions',
    tag: 'bases',
    summary: 'Publish a base: a full model that experts are made from',
    description: 'Safetensors weights (one file, or shards with their index.json), config and tokenizer.',
    params: repoParams,
    query: publishQuery,
    body: uploadSpec,
    responses: { 201: { description: 'published', schema: PublishedBase, headers: { Location: 'the revision' } } },
    errors: UPLOAD_ERRORS,
    async handler(call) {
      const repo = repoOf(call.params)
      const published = await call.services.ingest.base({ repo, ...call.query }, uploadBody(call), call.signal)
      return { status: 201, json: publishedJson(published), headers: locationOf('bases', published) }
    },
  }),
]

function publishedJson({ resolved, annotations }: Published): unknown {
  return { repo: resolved.repo, revision: resolved.revision, ...annotations, files: resolved.manifest.files }
}

export function locationOf(
  root: 'bases' | 'experts',
  { resolved }: Pick<Published, 'resolved'>,
): Record<string, string> {
  return { Location: `/v1/${root}/${resolved.repo}/revisions/${resolved.revision}`, 'X-Repo-Commit': resolved.revision }
}
