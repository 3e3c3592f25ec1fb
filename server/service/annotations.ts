/** What Tern writes into a manifest's annotations, and the strict way back: the registry itself does not look inside. */
import { z } from 'zod'
import type { Manifest } from '../../registry/manifest.ts'
import { ServerError } from './errors.ts'

export const CONTAINER_PATH = 'expert.tern'
export const CONTAINER_TYPE = 'application/vnd.tern.container.v1'
export const CONFIG_PATH = 'adapter_config.json'

const baseRef = z.object({
  repo: z.string(),
  revision: z.string(),
  weights_digest: z.string(),
})

const expert = z.object({
  kind: z.enum(['lora', 'ia3', 'full']),
  base: baseRef.nullable(),
  options: z.record(z.string(), z.unknown()),
  report: z.record(z.string(), z.unknown()),
  warnings: z.array(z.object({ code: z.string(), message: z.string(), detail: z.record(z.string(), z.unknown()) })),
})

const base = z.object({
  weights_digest: z.string(),
  parameters: z.number(),
  dtype: z.string(),
})

export type BaseRef = z.infer<typeof baseRef>
export type ExpertAnnotations = z.infer<typeof expert>
export type BaseAnnotations = z.infer<typeof base>

export function expertAnnotations(manifest: Manifest): ExpertAnnotations {
  return read(expert, manifest)
}

export function baseAnnotations(manifest: Manifest): BaseAnnotations {
  return read(base, manifest)
}

function read<S extends z.ZodType>(schema: S, manifest: Manifest): z.output<S> {
  const parsed = schema.safeParse(manifest.annotations)
  if (parsed.success) return parsed.data
  throw new ServerError(
    'STORED_DAMAGED',
    `${manifest.repo}: the manifest's annotations are not what this version writes`,
    {
      repo: manifest.repo,
    },
  )
}
