/** Tells a caller's mistake from damage in the store: what was checked when it came in and fails now was damaged here. */
import { CodedError } from '../../errors.ts'
import { ServerError } from './errors.ts'

const DAMAGE = new Set<string>([
  'CONTAINER_INVALID',
  'CONTAINER_VERSION_UNSUPPORTED',
  'CODEC_UNKNOWN',
  'CHECKSUM_MISMATCH',
  'SOURCE_TRUNCATED',
  'BASE_MISMATCH',
  'BLOB_NOT_FOUND',
  'DIGEST_MISMATCH',
  'SAFETENSORS_INVALID',
  'SAFETENSORS_HEADER_TOO_LARGE',
  'DTYPE_UNSUPPORTED',
])

/** Runs `action` on stored things; throws STORED_DAMAGED for the codes above. `what` names the thing. */
export async function asOurFault<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    throw blamed(what, error)
  }
}

/** As asOurFault, for a stream. */
export async function* streamAsOurFault(
  what: string,
  open: () => Promise<AsyncIterable<Uint8Array>>,
): AsyncGenerator<Uint8Array> {
  try {
    yield* await open()
  } catch (error) {
    throw blamed(what, error)
  }
}

function blamed(what: string, error: unknown): unknown {
  if (!(error instanceof CodedError) || !DAMAGE.has(error.code)) return error
  return new ServerError('STORED_DAMAGED', `${what} is damaged in the store: ${error.message}`, error.detail, {
    cause: error,
  })
}
