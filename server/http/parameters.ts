/** Path and query parameters that several calls share. */
import { z } from 'zod'
import { CompressError } from '../../compress/errors.ts'
import type { Dtype } from '../../tensors/dtype.ts'
import type { WeightsVariant } from '../service/models.ts'

export const repoParams = z.strictObject({
  ns: z.string().describe('namespace'),
  name: z.string().describe('name of the repo'),
})

export const revisionParams = repoParams.extend({
  ref: z.string().describe('branch, tag, or revision of 40 hex digits; "main" is the default branch. Slashes as %2F'),
})

export function repoOf({ ns, name }: { ns: string; name: string }): string {
  return `${ns}/${name}`
}

const DTYPES: Readonly<Record<string, Dtype>> = {
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  F32: 'F32',
  F16: 'F16',
  BF16: 'BF16',
}

export const variantQuery = z.strictObject({
  dtype: z.string().optional().describe('reconstruct as float32, float16 or bfloat16; default: as uploaded'),
  gain: z.string().optional().describe('further factor on every stored magnitude'),
})

/** Beyond this a gain is a typing error, and products with f32 scales would overflow. */
const MAX_GAIN = 1e4

/** Throws PARAMETER_INVALID. */
export function variantOf(query: z.output<typeof variantQuery>): WeightsVariant {
  const dtype = query.dtype === undefined ? undefined : DTYPES[query.dtype]
  if (query.dtype !== undefined && dtype === undefined)
    throw invalid('dtype', query.dtype, 'float32, float16, bfloat16')
  const gain = query.gain === undefined ? undefined : decimal(query.gain)
  if (gain !== undefined && !(gain > 0 && gain <= MAX_GAIN)) {
    throw invalid('gain', query.gain ?? '', `a number greater than 0 and at most ${MAX_GAIN}`)
  }
  return { ...(dtype && { dtype }), ...(gain !== undefined && { gain }) }
}

function decimal(text: string): number {
  return /^(?=\.?\d)\d{0,20}\.?\d{0,20}(?:e[+-]?\d{1,3})?$/i.test(text) ? Number(text) : Number.NaN
}

function invalid(parameter: string, value: string, allowed: string): CompressError {
  return new CompressError(
    'PARAMETER_INVALID',
    `${parameter} is ${JSON.stringify(value.slice(0, 100))}; allowed: ${allowed}`,
    {
      parameter,
      value: value.slice(0, 100),
      allowed,
    },
  )
}
