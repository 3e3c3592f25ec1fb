import { CodedError } from '../errors.ts'

export type RegistryErrorCode =
  | 'NAME_INVALID'
  | 'PATH_INVALID' // path traversal, absolute path, control characters
  | 'REPO_NOT_FOUND'
  | 'REVISION_NOT_FOUND'
  | 'ENTRY_NOT_FOUND'
  | 'BLOB_NOT_FOUND'
  | 'DIGEST_MISMATCH'
  | 'REF_CONFLICT'
  | 'RANGE_INVALID'
  | 'MANIFEST_INVALID'
  | 'STORE_UNAVAILABLE'

export class RegistryError extends CodedError<RegistryErrorCode> {}
