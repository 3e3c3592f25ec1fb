/** Uploading experts, and their containers. */
import { z } from 'zod'
import type { PublishedExpert as Published } from '../../service/ingest.ts'
import { repoOf, repoParams, revisionParams } from '../parameters.ts'
import { type AnyRoute, route } from '../route.ts'
import { PublishedExpert } from '../schemas.ts'
import { fileReply } from '../send-file.ts'
import { uploadBody, uploadSpec } from '../upload-body.ts'
import { locationOf, publishQuery, UPLOAD_ERRORS } from './bases.ts'
import { FILE_RESPONSES, repoRoutes } from './repos.ts'

const option = (description: string) => z.string().optional().describe(description)
const list = (description: string) =>
  z
    .union([z.string(), z.array(z.string())])
    .optional()
    .describe(description)

/** Values are checked by the one place that knows them, compress/options.ts: hence strings here. */
const optionsQuery = {
  preset: option('balanced (default), small, faithful, or paper: the settings of ComPEFT'),
  density: option('fraction of entries kept, in (0, 1]'),
  alpha: option("ComPEFT's factor on sigma; goes with scale=std"),
  scope: option('global: one threshold for all tensors; tensor: one each'),
  scale: option('std, norm, mean or between (norm and mean)'),
  transform: option('none, balance, svd or effect: change of coordinates of LoRA factors before the threshold'),
  layers: option('layers of trits, 1 to 4: 1, 4, 13 or 40 magnitudes per entry'),
  gain: option('factor on every magnitude'),
  codec: option('sgr, rice or bitplane'),
  strict: option('1 refuses what would otherwise be a warning'),
  include: list('patterns of tensors to compress although the rules leave them out'),
  exclude: list('patterns of tensors to keep losslessly'),
}

const expertQuery = publishQuery.extend({
  method: z.enum(['compeft']).default('compeft').describe('how the task vector becomes ternary'),
  kind: z.enum(['lora', 'ia3', 'full']).optional().describe('checked against the files'),
  base: option('base the expert was made from, as namespace/name[@revision]; a full fine-tune needs it'),
  retain: z.enum(['none', 'original']).default('none').describe('original: keep the uploaded weights too'),
  ...optionsQuery,
})

const containerQuery = z.object({
  layers: z.coerce
    .number()
    .int()
    .min(1)
    .optional()
    .describe('only the first so many layers of trits: coarser, smaller'),
})

export const expertRoutes: readonly AnyRoute[] = [
  ...repoRoutes('expert'),
  route({
    method: 'post',
    path: '/v1/experts/{ns}/{name}/revisions',
    tag: 'experts',
    summary: 'Upload an adapter or a full fine-tune; compress it; publish it',
    description: 'adapter_model.safetensors with adapter_config.json, or the weights of a full fine-tune with base=.',
    params: repoParams,
    query: expertQuery,
    body: uploadSpec,
    responses: { 201: { description: 'published', schema: PublishedExpert, headers: { Location: 'the revision' } } },
    errors: [
      ...UPLOAD_ERRORS,
      'PARAMETER_INVALID',
      'ADAPTER_CONFIG_INVALID',
      'ADAPTER_SHAPE_MISMATCH',
      'NOT_FINITE',
      'FACTOR_LOST',
      'BASE_REQUIRED',
      'BASE_MISMATCH',
      'BASE_UNKNOWN',
    ],
    async handler(call) {
      const { method: _only, branch, tag, kind, base, retain, ...options } = call.query
      const request = { repo: repoOf(call.params), branch, tag, kind, base, retain, options }
      const published = await call.services.ingest.expert(request, uploadBody(call), call.signal)
      return { status: 201, json: publishedJson(published), headers: locationOf('experts', published) }
    },
  }),
  route({
    method: 'get',
    path: '/v1/experts/{ns}/{name}/revisions/{ref}/expert.tern',
    tag: 'experts',
    summary: 'The compressed expert',
    params: revisionParams,
    query: containerQuery,
    responses: FILE_RESPONSES,
    errors: ['REPO_NOT_FOUND', 'REVISION_NOT_FOUND', 'RANGE_INVALID', 'PARAMETER_INVALID'],
    async handler(call) {
      const request = { repo: repoOf(call.params), ref: call.params.ref, type: 'expert', variant: {} } as const
      return fileReply(call, await call.services.fetch.container(request, call.query.layers, call.signal))
    },
  }),
]

function publishedJson({ resolved, annotations, container, report }: Published): unknown {
  return {
    repo: resolved.repo,
    revision: resolved.revision,
    container: { digest: container.digest, bytes: container.size },
    original_bytes: report.originalBytes,
    ratio: report.ratio,
    bits_per_param: report.bitsPerParameter,
    ...annotations,
  }
}
