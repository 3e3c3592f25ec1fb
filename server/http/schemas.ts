/** Shapes of the API's JSON. Those with an id stand under their name in the OpenAPI document. */
import { z } from 'zod'

const bytes = z.number().int().min(0)
const time = z.iso.datetime().describe('UTC')
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/)
const revision = z
  .string()
  .regex(/^[0-9a-f]{40}$/)
  .describe('first 40 hex digits of the manifest digest')
const json = z.record(z.string(), z.unknown())

export const ErrorBody = z
  .object({ error: z.object({ code: z.string(), message: z.string(), detail: json }) })
  .meta({ id: 'Error' })

export const FileEntry = z
  .object({ path: z.string(), digest, size: bytes, media_type: z.string() })
  .meta({ id: 'File', description: 'a file of a revision' })

const BaseRef = z
  .object({ repo: z.string(), revision, weights_digest: digest })
  .meta({ id: 'BaseRef', description: 'the base an expert was made from, and the digest of its weights' })

const Warning = z.object({ code: z.string(), message: z.string(), detail: json }).meta({ id: 'Warning' })
const Kind = z.enum(['lora', 'ia3', 'full']).meta({ id: 'Kind' })

export const PublishedBase = z
  .object({
    repo: z.string(),
    revision,
    weights_digest: digest.describe('of the tensors, however they are sharded'),
    parameters: z.number().int(),
    dtype: z.string(),
    files: z.array(FileEntry),
  })
  .meta({ id: 'PublishedBase' })

export const PublishedExpert = z
  .object({
    repo: z.string(),
    revision,
    kind: Kind,
    base: BaseRef.nullable(),
    container: z.object({ digest, bytes }),
    original_bytes: bytes,
    ratio: z.number(),
    bits_per_param: z.number(),
    options: json,
    report: json.describe('see docs/report: size and fidelity, whole and per tensor'),
    warnings: z.array(Warning),
  })
  .meta({ id: 'PublishedExpert' })

export const RepoSummary = z
  .object({
    repo: z.string(),
    type: z.enum(['base', 'expert']),
    revision: revision.describe('head of main, or of the first branch'),
    kind: z.string().nullable(),
    base: z.string().nullable(),
    size: bytes.describe('stored bytes of the head'),
    files: z.number().int(),
    created: time,
    updated: time,
  })
  .meta({ id: 'RepoSummary' })

export const RepoPage = z
  .object({ repos: z.array(RepoSummary), next: z.string().nullable().describe('cursor of the next page') })
  .meta({ id: 'RepoPage' })

const Ref = z.object({ name: z.string(), revision, updated: time }).meta({ id: 'Ref' })

export const Repo = z
  .object({
    repo: z.string(),
    type: z.enum(['base', 'expert']),
    created: time,
    updated: time,
    branches: z.array(Ref),
    tags: z.array(Ref),
    revisions: z
      .array(z.object({ revision, parent: revision.nullable(), created: time, size: bytes }))
      .describe('newest first'),
  })
  .meta({ id: 'Repo' })

const revisionCommon = {
  repo: z.string(),
  type: z.enum(['base', 'expert']),
  revision,
  digest: digest.describe('of the manifest'),
  parent: revision.nullable(),
  created: time,
  files: z.array(FileEntry).describe('stored'),
  derived: z.array(FileEntry).describe('made on request; size and digest are fixed'),
}

export const ExpertRevision = z
  .object({
    ...revisionCommon,
    kind: Kind,
    base: BaseRef.nullable(),
    options: json,
    report: json,
    warnings: z.array(Warning),
  })
  .meta({ id: 'ExpertRevision' })

export const BaseRevision = z
  .object({ ...revisionCommon, weights_digest: digest, parameters: z.number().int(), dtype: z.string() })
  .meta({ id: 'BaseRevision' })

export const TagBody = z
  .strictObject({ revision: z.string().min(1).describe('revision, branch or tag that the tag shall point to') })
  .meta({ id: 'TagBody' })

export const TagAnswer = z.object({ repo: z.string(), tag: z.string(), revision }).meta({ id: 'Tag' })

export const Job = z
  .object({
    id: z.string(),
    kind: z.enum(['merge']),
    state: z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled']),
    progress: z.object({ done: bytes, total: bytes }).describe('bytes of output; total 0 while unknown'),
    created: time,
    started: time.nullable(),
    finished: time.nullable(),
    request: json,
    result: z
      .object({
        files: z.array(FileEntry),
        report: json,
        warnings: z.array(z.string()),
        published: z.object({ repo: z.string(), revision }).nullable(),
      })
      .nullable(),
    error: z.object({ code: z.string(), message: z.string(), detail: json }).nullable(),
  })
  .meta({ id: 'Job' })

export const Health = z.object({ status: z.literal('ok') }).meta({ id: 'Health' })
