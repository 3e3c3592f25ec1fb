/**
 * A failure the caller can act on: bad input, a missing thing, a limit. A plain `Error` is a bug in Tern.
 *
 * `code` is a literal from the union of the folder that throws; `detail` carries the names and numbers of the
 * message in machine-readable form. Nothing here knows HTTP: one table in server/http maps codes to statuses.
 */
export class CodedError<C extends string = string> extends Error {
  readonly code: C
  readonly detail: Readonly<Record<string, unknown>>

  constructor(code: C, message: string, detail: Record<string, unknown> = {}, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
    this.detail = detail
  }
}
