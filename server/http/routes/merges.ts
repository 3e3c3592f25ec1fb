/** Merging: as a job, or straight into the answer. */
import { once } from 'node:events'
import type { Response } from 'express'
import { z } from 'zod'
import type { ByteSink } from '../../../tensors/safetensors-writer.ts'
import { ServerError } from '../../service/errors.ts'
import type { MergeStream, RecipeText } from '../../service/merges.ts'
import { jobJson } from '../job-json.ts'
import { readText } from '../request-body.ts'
import { type AnyRoute, type Call, mediaType, type Reply, route } from '../route.ts'
import { Job } from '../schemas.ts'

const FORMATS: Readonly<Record<string, RecipeText['format']>> = {
  'application/json': 'json',
  'application/yaml': 'yaml',
  'application/x-yaml': 'yaml',
  'text/yaml': 'yaml',
}

const recipe = z
  .record(z.string(), z.unknown())
  .describe('merge_method, base_model, models, parameters, dtype, out_dtype, output: { kind, publish, tag }')

export const mergeRoutes: readonly AnyRoute[] = [
  route({
    method: 'post',
    path: '/v1/merges',
    tag: 'merges',
    summary: 'Merge models and experts by a mergekit recipe',
    description:
      'The recipe is checked before anything is read. The work is a job; with stream=1 the answer is the merged ' +
      'safetensors file itself. The same recipe over the same inputs gives the same bytes.',
    query: z.strictObject({
      stream: z.enum(['0', '1']).default('0').describe('1: answer with the weights instead of a job'),
    }),
    body: {
      description: 'a recipe as JSON, or mergekit YAML as it is',
      content: { 'application/json': recipe, 'application/yaml': z.string() },
    },
    responses: {
      200: { description: 'the merged weights (stream=1)', type: 'application/octet-stream' },
      202: { description: 'the job', schema: Job, headers: { Location: 'the job' } },
    },
    errors: [
      'MEDIA_TYPE_UNSUPPORTED',
      'TOO_LARGE',
      'RECIPE_INVALID',
      'MERGE_METHOD_UNKNOWN',
      'MERGE_INPUT_NOT_FOUND',
      'MERGE_UNSUPPORTED',
      'SHAPE_MISMATCH',
      'BASE_DIFFERS',
      'BASE_GONE',
      'NAME_INVALID',
      'REPO_CONFLICT',
      'BUSY',
      'STOPPING',
    ],
    async handler(call) {
      const text = await readRecipe(call)
      const { merges } = call.services
      if (call.query.stream === '1') return streamReply(call, await merges.stream(text, call.signal))
      const job = await merges.submit(text, call.signal)
      return { status: 202, json: jobJson(job), headers: { Location: `/v1/jobs/${job.id}` } }
    },
  }),
]

async function readRecipe(call: Call): Promise<RecipeText> {
  const type = mediaType(call.request)
  const format = FORMATS[type]
  if (format === undefined) {
    throw new ServerError(
      'MEDIA_TYPE_UNSUPPORTED',
      `a recipe is application/json or application/yaml, not ${type || 'a body without type'}`,
    )
  }
  return { text: await readText(call.request, call.response), format }
}

function streamReply(call: Call, merge: MergeStream): Reply {
  return {
    status: 200,
    headers: {
      'Content-Type': 'application/octet-stream',
      'Content-Length': String(merge.size),
      'Content-Disposition': `attachment; filename="${merge.fileName}"`,
      'Cache-Control': 'no-store',
      'X-Tern-Plan': merge.plan,
    },
    send: (response) => merge.run(responseSink(response, call), call.signal),
  }
}

/** Waits for the client where it reads more slowly than we merge. */
function responseSink(response: Response, { signal, metrics }: Call): ByteSink {
  return {
    async write(bytes) {
      metrics.bytesOut(bytes.byteLength)
      if (!response.write(bytes)) await once(response, 'drain', { signal })
    },
    async end() {
      response.end()
    },
  }
}
