import { CodedError } from '../../errors.ts'

/** Failures of the service itself; what a tensor, container, recipe or repo got wrong keeps its own folder's code. */
export type ServerErrorCode =
  | 'CONFIG_INVALID' // an environment variable: names it and what is allowed
  | 'REQUEST_INVALID' // a path, query or body field: names it
  | 'MEDIA_TYPE_UNSUPPORTED'
  | 'UNAUTHENTICATED'
  | 'FORBIDDEN'
  | 'ROUTE_NOT_FOUND'
  | 'METHOD_NOT_ALLOWED'
  | 'TOO_LARGE' // a body or a part over its limit: names the limit
  | 'SPOOL_FULL' // no room on the disk of the spool
  | 'UPLOAD_INCOMPLETE' // the body ended before its last boundary
  | 'PATH_DUPLICATE' // two parts of one upload with one path
  | 'FILE_MISSING' // an upload without a file it cannot do without
  | 'FILE_REFUSED' // a file Tern does not store, such as a pickle
  | 'BASE_UNKNOWN' // an upload names a base that is not here
  | 'BASE_GONE' // the base that an expert was made from was deleted
  | 'IN_USE' // a base that experts need cannot be deleted
  | 'JOB_NOT_FOUND'
  | 'JOB_NOT_READY' // its result was asked for before it succeeded
  | 'RESULT_GONE' // the files of a job have made room for later ones
  | 'JOB_FINISHED' // too late to cancel
  | 'BUSY' // the queue is full
  | 'STOPPING' // the server is shutting down
  | 'CANCELLED' // by the client, who hung up or asked for it
  | 'STORED_DAMAGED' // what lies in the store fails its own checks: our fault, not the caller's
  | 'INTERNAL'

export class ServerError extends CodedError<ServerErrorCode> {}
