import { CodedError } from '../errors.ts'

export type CliErrorCode =
  | 'USAGE_INVALID' // the command line itself: exit code 2
  | 'INPUT_NOT_FOUND' // a file or folder named on the command line
  | 'OUTPUT_EXISTS'
  | 'SERVER_UNREACHABLE'
  | 'SERVER_ANSWER_INVALID' // not Tern, or a proxy's own page
  | 'DOWNLOAD_CORRUPT' // the bytes that arrived do not have the promised digest or size
  | 'JOB_FAILED'
  | 'JOB_CANCELLED'
  | 'PROBLEMS_FOUND' // verify

export class CliError extends CodedError<CliErrorCode> {}

/** A refusal of the server, with its own code. */
export class ApiError extends CodedError<string> {
  readonly status: number

  constructor(status: number, code: string, message: string, detail: Record<string, unknown>) {
    super(code, message, detail)
    this.status = status
  }
}
