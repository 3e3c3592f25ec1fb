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
  | 'REPO_CONFLICT' // the name is taken by another spelling (case) or by a repo of the other type
  | 'RANGE_INVALID'
  | 'MANIFEST_INVALID'
  | 'LIMIT_EXCEEDED' // more files in a revision, or more refs in a repo, than the named limit
  | 'CURSOR_INVALID' // a paging cursor that this registry did not give
  | 'URL_INVALID' // a store or index URL of the configuration
  | 'INDEX_UNAVAILABLE' // the index cannot be opened, is locked, or was made by a newer version
  | 'STORE_UNAVAILABLE'

export class RegistryError extends CodedError<RegistryErrorCode> {}
