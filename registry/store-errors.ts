/** The one rule for ranges of a stored object, and the errors that all stores share. */
import type { ByteRange } from './blob-store.ts'
import { RegistryError } from './errors.ts'

/** Throws RANGE_INVALID unless [start, end) holds a byte and lies within `size`. */
export function checkRange(key: string, range: ByteRange, size: number): void {
  const { start, end } = range
  if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start < end && end <= size) return
  throw rangeInvalid(key, range, size)
}

export function rangeInvalid(key: string, range: ByteRange, size?: number): RegistryError {
  const of = size === undefined ? '' : ` of ${size}`
  const message = `bytes ${range.start} to ${range.end}${of} are not a range of ${key}`
  return new RegistryError('RANGE_INVALID', message, { key, ...range, ...(size === undefined ? {} : { size }) })
}

export function blobNotFound(key: string): RegistryError {
  return new RegistryError('BLOB_NOT_FOUND', `nothing is stored at ${key}`, { key })
}

export function versionConflict(key: string): RegistryError {
  return new RegistryError('REF_CONFLICT', `${key} was changed by someone else in between; read it again`, { key })
}
