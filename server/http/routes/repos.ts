/** What bases and experts have in common: lists, repos, revisions, tags, files. */
import { z } from 'zod'
import type { RepoType } from '../../../registry/manifest.ts'
import { checkDeletable } from '../../service/dependents.ts'
import { requireType } from '../../service/repo-type.ts'
import { repoOf, repoParams, revisionParams, variantOf, variantQuery } from '../parameters.ts'
import { repoJson, revisionJson, summaryJson } from '../repo-json.ts'
import { type AnyRoute, type ResponseSpec, readJson, route } from '../route.ts'
import { BaseRevision, ExpertRevision, Repo, RepoPage, TagAnswer, TagBody } from '../schemas.ts'
import { fileReply } from '../send-file.ts'

const MAX_PAGE = 200
const DEFAULT_PAGE = 50

const listQuery = z.strictObject({
  search: z.string().optional().describe('part of the name, in any case'),
  limit: z.coerce.number().int().min(1).max(MAX_PAGE).default(DEFAULT_PAGE),
  cursor: z.string().optional().describe('"next" of the page before'),
})

const expertListQuery = listQuery.extend({
  base: z.string().optional().describe('id of the base that the experts were made from'),
  kind: z.enum(['lora', 'ia3', 'full']).optional(),
})

/** A download's answers. */
export const FILE_RESPONSES: Readonly<Record<number, ResponseSpec>> = {
  200: {
    description: 'the bytes',
    type: 'application/octet-stream',
    headers: {
      ETag: 'same tag, same bytes: the digest, or a tag of the variant',
      'X-Repo-Commit': 'revision the file is of',
      'Accept-Ranges': 'bytes',
    },
  },
  206: { description: 'the range asked for', type: 'application/octet-stream' },
  302: { description: 'to a signed URL of the store', headers: { Location: 'where the bytes are' } },
  304: { description: 'the client has these bytes already' },
}

const NOT_FOUND = ['REPO_NOT_FOUND', 'REVISION_NOT_FOUND', 'NAME_INVALID'] as const

/** The routes of one type of repo under `/v1/<root>`. */
export function repoRoutes(type: RepoType): AnyRoute[] {
  return [...listRoutes(type), ...tagRoutes(type), ...fileRoutes(type)]
}

function rootOf(type: RepoType): { root: string; tag: string } {
  return type === 'base' ? { root: '/v1/bases', tag: 'bases' } : { root: '/v1/experts', tag: 'experts' }
}

function listRoutes(type: RepoType): AnyRoute[] {
  const { root, tag } = rootOf(type)
  return [
    route({
      method: 'get',
      path: root,
      tag,
      summary: `List and search ${tag}, by name`,
      query: type === 'base' ? listQuery : expertListQuery,
      responses: { 200: { description: 'a page', schema: RepoPage } },
      errors: ['CURSOR_INVALID'],
      async handler({ services, query }) {
        const page = await services.registry.listRepos({ type, ...defined(query) })
        return { status: 200, json: { repos: page.repos.map(summaryJson), next: page.next ?? null } }
      },
    }),
    route({
      method: 'get',
      path: `${root}/{ns}/{name}`,
      tag,
      summary: 'Branches, tags and history of a repo',
      params: repoParams,
      responses: { 200: { description: 'the repo', schema: Repo } },
      errors: NOT_FOUND,
      async handler({ services, params }) {
        return { status: 200, json: repoJson(requireType(await services.registry.repo(repoOf(params)), type)) }
      },
    }),
    route({
      method: 'delete',
      path: `${root}/{ns}/{name}`,
      tag,
      summary: 'Delete a repo with all its revisions',
      description: 'Blobs that nothing else needs go with the next "tern gc". A base that experts need is kept.',
      params: repoParams,
      responses: { 204: { description: 'deleted' } },
      errors: [...NOT_FOUND, 'IN_USE'],
      async handler({ services, params }) {
        const repo = requireType(await services.registry.repo(repoOf(params)), type)
        await checkDeletable(services.registry, repo)
        await services.registry.deleteRepo(repo.repo)
        return { status: 204 }
      },
    }),
    route({
      method: 'get',
      path: `${root}/{ns}/{name}/revisions/{ref}`,
      tag,
      summary: type === 'base' ? 'A revision: its files and weights' : 'A revision: its files, options and report',
      params: revisionParams,
      responses: {
        200: { description: 'the revision', schema: type === 'base' ? BaseRevision : ExpertRevision },
      },
      errors: NOT_FOUND,
      async handler({ services, params }) {
        const resolved = requireType(await services.registry.resolve(repoOf(params), params.ref), type)
        return { status: 200, json: revisionJson(resolved), headers: { 'X-Repo-Commit': resolved.revision } }
      },
    }),
  ]
}

function tagRoutes(type: RepoType): AnyRoute[] {
  const { root, tag } = rootOf(type)
  const params = repoParams.extend({ tag: z.string().describe('name of the tag. Slashes as %2F') })
  return [
    route({
      method: 'put',
      path: `${root}/{ns}/{name}/tags/{tag}`,
      tag,
      summary: 'Set or move a tag',
      params,
      body: { description: 'what it shall point to', content: { 'application/json': TagBody } },
      responses: { 200: { description: 'the tag', schema: TagAnswer } },
      errors: [...NOT_FOUND, 'REF_CONFLICT', 'MEDIA_TYPE_UNSUPPORTED', 'TOO_LARGE'],
      async handler(call) {
        const { services } = call
        const repo = repoOf(call.params)
        requireType(await services.registry.repo(repo), type)
        const { revision } = await readJson(call, TagBody)
        const resolved = await services.registry.setTag(repo, call.params.tag, revision)
        return { status: 200, json: { repo, tag: call.params.tag, revision: resolved.revision } }
      },
    }),
    route({
      method: 'delete',
      path: `${root}/{ns}/{name}/tags/{tag}`,
      tag,
      summary: 'Delete a tag',
      params,
      responses: { 204: { description: 'deleted' } },
      errors: NOT_FOUND,
      async handler({ services, params: { tag: name, ...repo } }) {
        requireType(await services.registry.repo(repoOf(repo)), type)
        await services.registry.deleteTag(repoOf(repo), name)
        return { status: 204 }
      },
    }),
  ]
}

function fileRoutes(type: RepoType): AnyRoute[] {
  const { root, tag } = rootOf(type)
  const errors = [
    ...NOT_FOUND,
    'ENTRY_NOT_FOUND',
    'PARAMETER_INVALID',
    'RANGE_INVALID',
    'BASE_GONE',
    'STORED_DAMAGED',
  ] as const
  return [
    route({
      method: 'get',
      path: `${root}/{ns}/{name}/revisions/{ref}/files/{path+}`,
      tag,
      summary: 'Any file of a revision',
      ...(type === 'expert' && {
        description:
          'Weights are reconstructed while they are sent: exact length, ranges and tags as for a stored file.',
      }),
      params: revisionParams.extend({ path: z.string() }),
      query: variantQuery,
      responses: FILE_RESPONSES,
      errors,
      async handler(call) {
        const { params, services } = call
        const request = { repo: repoOf(params), ref: params.ref, type, variant: variantOf(call.query) }
        return fileReply(call, await services.fetch.file(request, params.path, call.signal))
      },
    }),
    route({
      method: 'get',
      path: `${root}/{ns}/{name}/revisions/{ref}/tensors/{tensor+}`,
      tag,
      summary: 'One tensor, as a safetensors file',
      params: revisionParams.extend({ tensor: z.string() }),
      query: variantQuery,
      responses: FILE_RESPONSES,
      errors: [...errors, 'TENSOR_NOT_FOUND'],
      async handler(call) {
        const { params, services } = call
        const request = { repo: repoOf(params), ref: params.ref, type, variant: variantOf(call.query) }
        return fileReply(call, await services.fetch.tensor(request, params.tensor, call.signal))
      },
    }),
  ]
}

function defined<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as never
}
