import type { JobRow } from '../service/job-store.ts'

/** A job as the API and its event stream show it. */
export function jobJson({ key: _key, version: _version, done, total, ...rest }: JobRow): unknown {
  return { ...rest, progress: { done, total } }
}
