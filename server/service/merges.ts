/** Merges: a recipe is planned at once, so that its mistakes are answered at once; the work is a job, or a stream. */
import { createHash } from 'node:crypto'
import { type MergePlan, planMerge } from '../../merge/plan.ts'
import { parseRecipe } from '../../merge/recipe.ts'
import { runMerge } from '../../merge/run-merge.ts'
import type { Digest } from '../../registry/digest.ts'
import type { Registry, Resolved } from '../../registry/registry.ts'
import { dataBytes, serialiseHeader } from '../../tensors/safetensors-header.ts'
import { type ByteSink, SafetensorsWriter } from '../../tensors/safetensors-writer.ts'
import type { Ingest } from './ingest.ts'
import type { JobRow } from './job-store.ts'
import type { JobContext, Jobs } from './jobs.ts'
import { makeMergeFiles, weightsPath } from './merge-files.ts'
import { mergeInputs } from './merge-inputs.ts'
import { checkTarget, publishMerge } from './merge-publish.ts'
import type { Models } from './models.ts'
import type { Result, Results } from './results.ts'
import type { ServedFile } from './served-file.ts'
import type { SpoolRoot } from './spool.ts'

export interface RecipeText {
  readonly text: string
  readonly format: 'yaml' | 'json'
}

/** A merge on its way straight to the client. */
export interface MergeStream {
  readonly fileName: string
  readonly size: number
  readonly plan: Digest
  /** Runs the merge into `sink`. Call it or `close`, exactly one of them. */
  run(sink: ByteSink, signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

export interface MergesDeps {
  readonly registry: Registry
  readonly models: Models
  readonly ingest: Ingest
  readonly jobs: Jobs
  readonly results: Results
  readonly spools: SpoolRoot
}

/** A plan with its inputs open, and the revisions they were. */
export interface Planned {
  readonly plan: MergePlan
  readonly resolved: ReadonlyMap<string, Resolved>
  close(): Promise<void>
}

export class Merges {
  readonly #deps: MergesDeps

  constructor(deps: MergesDeps) {
    this.#deps = deps
  }

  /**
   * Plans, then queues the work, or answers with a job that has done or is doing it.
   * Throws what parseRecipe and planMerge throw, NAME_INVALID, REPO_CONFLICT, BUSY, STOPPING.
   */
  async submit(recipe: RecipeText, signal?: AbortSignal): Promise<JobRow> {
    const { jobs, results, registry } = this.#deps
    const { plan, resolved, close } = await this.#plan(recipe, signal)
    // Nothing stays open while the job waits: it plans again, from the same revisions, when its turn comes.
    await close()
    const { output } = plan.recipe
    await checkTarget(registry, plan)
    const key = jobKey(plan)
    const done = output.publish === undefined ? jobs.succeeded(key) : undefined
    if (done !== undefined && (await results.find(plan.digest as Digest)) !== undefined) return done
    return jobs.submit({
      key,
      request: {
        plan: plan.digest,
        merge_method: plan.recipe.method.name,
        output: { kind: output.kind ?? plan.outputKind, publish: output.publish ?? null, tag: output.tag ?? null },
        warnings: plan.warnings,
      },
      run: (context) => this.#run(recipe, resolved, context),
    })
  }

  /** Plans a merge whose weights go straight to the client. Throws what parseRecipe and planMerge throw. */
  async stream(recipe: RecipeText, signal?: AbortSignal): Promise<MergeStream> {
    const { plan, close } = await this.#plan(recipe, signal)
    return {
      fileName: weightsPath(plan),
      size: serialiseHeader(plan.tensors, plan.metadata).byteLength + dataBytes(plan.tensors),
      plan: plan.digest as Digest,
      async run(sink, stop) {
        try {
          await runMerge(plan, new SafetensorsWriter(sink), { signal: stop })
        } finally {
          await close()
        }
      },
      close,
    }
  }

  /** A file that a job has made. Throws JOB_NOT_FOUND, JOB_NOT_READY, RESULT_GONE, ENTRY_NOT_FOUND. */
  async file(id: string, path: string): Promise<ServedFile> {
    const job = this.#deps.jobs.succeededJob(id)
    return this.#deps.results.serve(job.request.plan as Digest, path)
  }

  async #plan(
    { text, format }: RecipeText,
    signal?: AbortSignal,
    pinned?: ReadonlyMap<string, Resolved>,
  ): Promise<Planned> {
    const recipe = parseRecipe(text, format)
    const inputs = mergeInputs(this.#deps, signal, pinned)
    try {
      return { plan: await planMerge(recipe, inputs.open, signal), resolved: inputs.resolved, close: inputs.close }
    } catch (error) {
      await inputs.close()
      throw error
    }
  }

  async #run(
    recipe: RecipeText,
    pinned: ReadonlyMap<string, Resolved>,
    context: JobContext,
  ): Promise<Record<string, unknown>> {
    const planned = await this.#plan(recipe, context.signal, pinned)
    try {
      const result = await this.#makeResult(planned, context)
      const published = await publishMerge(this.#deps, planned, result, context.signal)
      const { files, report } = result
      return { files, report, warnings: report.warnings ?? [], published: published ?? null }
    } finally {
      await planned.close()
    }
  }

  async #makeResult(planned: Planned, context: JobContext): Promise<Result> {
    const digest = planned.plan.digest as Digest
    const known = await this.#deps.results.find(digest)
    if (known !== undefined) return known
    const spool = await this.#deps.spools.create()
    try {
      const { files, report } = await makeMergeFiles(this.#deps.models, planned, spool, context)
      return await this.#deps.results.keep(digest, files, report)
    } finally {
      await spool.discard()
    }
  }
}

/** Equal keys: the same bytes to the same place. */
function jobKey({ digest, recipe: { output } }: MergePlan): string {
  const parts = [digest, output.kind ?? '', output.publish ?? '', output.tag ?? '']
  return createHash('sha256').update(parts.join('\0')).digest('hex')
}
