/** `tern pull`: download a revision, reconstructed or compressed. */
import { type Command, Option } from 'commander'
import { apiJson, isRecord } from '../api-client.ts'
import { type Context, type Run, startRun } from '../context.ts'
import { DTYPE_NAMES } from '../dtype-names.ts'
import { ApiError, CliError } from '../errors.ts'
import { fetchFiles, type RemoteFile } from '../fetch-files.ts'
import { formatBytes, formatFields } from '../format.ts'
import { encodePath, parseRepoRef, type RepoRef, type RepoType, revisionPath } from '../repo-ref.ts'

interface Flags {
  readonly compressed?: boolean
  readonly dtype?: string
  readonly gain?: string
  readonly force?: boolean
}

interface RevisionFile {
  readonly path: string
  readonly digest: string
}

const CONTAINER = 'expert.tern'
/** Where a push with --retain original keeps what was uploaded. */
const ORIGINAL = 'original/'

export function registerPull(program: Command, context: Context): void {
  program
    .command('pull')
    .description('download a revision into a folder: weights reconstructed, or compressed as stored')
    .argument('<ns/name[@rev]>', 'repo, with a branch, tag or revision (default: main)')
    .argument('<dir>', 'folder to write into; a download that broke off is taken up again')
    .option('--compressed', `${CONTAINER} instead of the reconstructed weights`)
    .addOption(
      new Option('--dtype <name>', 'dtype of the weights').choices(Object.keys(DTYPE_NAMES)).conflicts('compressed'),
    )
    .addOption(new Option('--gain <factor>', 'factor on every magnitude').conflicts('compressed'))
    .option('--force', 'replace files that exist')
    .action(async (repo: string, dir: string, flags: Flags, self: Command) => {
      await runPull(repo, dir, flags, startRun(context, self))
    })
}

async function runPull(repoText: string, dir: string, flags: Flags, run: Run): Promise<void> {
  const { type, ref, revision, stored, derived } = await findRevision(parseRepoRef(repoText), run)
  const wanted = flags.compressed ? stored : [...stored.filter(isNoWeights), ...derived]
  const at = { repo: ref.repo, ref: revision }
  const remote = wanted.map((file) => describeRemote(type, at, file, derived.includes(file), flags))
  const bytes = await fetchFiles(remote, dir, flags.force === true, run)
  const files = wanted.map((file) => file.path)
  run.print(
    { repo: ref.repo, revision, path: dir, files, bytes },
    formatFields({ repo: ref.repo, revision, folder: dir, files: files.join(', '), downloaded: formatBytes(bytes) }),
  )
}

/** What stands beside the weights of an expert. A base has no container: all it holds is wanted. */
function isNoWeights(file: RevisionFile): boolean {
  return file.path !== CONTAINER && !file.path.startsWith(ORIGINAL)
}

/** The digest of weights in another dtype, or with another gain, is known to nobody beforehand. */
function describeRemote(type: RepoType, at: RepoRef, file: RevisionFile, isDerived: boolean, flags: Flags): RemoteFile {
  const changes = new URLSearchParams()
  if (isDerived && flags.dtype !== undefined) changes.set('dtype', flags.dtype)
  if (isDerived && flags.gain !== undefined) changes.set('gain', flags.gain)
  const query = changes.size > 0 ? `?${changes}` : ''
  return {
    path: file.path,
    from: `${revisionPath(type, at)}/files/${encodePath(file.path)}${query}`,
    digest: query === '' ? file.digest : undefined,
  }
}

interface FoundRevision {
  readonly type: RepoType
  readonly ref: RepoRef
  readonly revision: string
  readonly stored: readonly RevisionFile[]
  readonly derived: readonly RevisionFile[]
}

/** Experts and bases share one name space of repos, but not one path. */
async function findRevision(ref: RepoRef, run: Run): Promise<FoundRevision> {
  const { type, body } = await fetchRevision(ref, run)
  if (!isRecord(body) || typeof body.revision !== 'string') throw malformed('revision')
  return {
    type,
    ref,
    revision: body.revision,
    stored: readFiles(body.files, 'files'),
    derived: readFiles(body.derived ?? [], 'derived'),
  }
}

export async function fetchRevision(ref: RepoRef, run: Run): Promise<{ type: RepoType; body: unknown }> {
  try {
    return { type: 'experts', body: (await apiJson(run.server, revisionPath('experts', ref))).body }
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'REPO_NOT_FOUND') throw error
    return { type: 'bases', body: (await apiJson(run.server, revisionPath('bases', ref))).body }
  }
}

function readFiles(value: unknown, field: string): RevisionFile[] {
  if (!Array.isArray(value)) throw malformed(field)
  return value.map((file) => {
    if (!isRecord(file) || typeof file.path !== 'string' || typeof file.digest !== 'string') throw malformed(field)
    return { path: file.path, digest: file.digest }
  })
}

function malformed(field: string): CliError {
  return new CliError('SERVER_ANSWER_INVALID', `the description of the revision has no proper "${field}"`, { field })
}
