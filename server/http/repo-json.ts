/** Repos and revisions as the API shows them. */
import { revisionOf } from '../../registry/digest.ts'
import type { RepoSummary } from '../../registry/index.ts'
import type { RefSummary, RepoDetail, Resolved } from '../../registry/registry.ts'
import { baseAnnotations, expertAnnotations } from '../service/annotations.ts'

export function summaryJson({ digest: _digest, created, updated, ...rest }: RepoSummary): unknown {
  return { ...rest, created, updated }
}

export function repoJson({ repo, type, created, updated, branches, tags, revisions }: RepoDetail): unknown {
  return {
    repo,
    type,
    created,
    updated,
    branches: branches.map(refJson),
    tags: tags.map(refJson),
    revisions: revisions.map((r) => ({
      revision: r.revision,
      parent: r.parent === null ? null : revisionOf(r.parent),
      created: r.created,
      size: r.size,
    })),
  }
}

export function revisionJson(resolved: Resolved): unknown {
  const { repo, type, revision, digest, created, manifest } = resolved
  return {
    repo,
    type,
    revision,
    digest,
    parent: manifest.parent === null ? null : revisionOf(manifest.parent),
    created,
    files: manifest.files,
    derived: manifest.derived,
    ...(type === 'base' ? baseAnnotations(manifest) : expertAnnotations(manifest)),
  }
}

function refJson({ name, revision, updated }: RefSummary): unknown {
  return { name, revision, updated }
}
