/** Connects a request's body to the service: each part becomes a file of the upload. */
import { z } from 'zod'
import type { Fill } from '../service/ingest.ts'
import { receiveMultipart } from './multipart.ts'
import type { BodySpec, Call } from './route.ts'

/** Reads the body into the upload; called by the service once everything else has been checked. */
export function uploadBody(call: Call): Fill {
  return (upload) => receiveMultipart(call, (path, content) => upload.add(path, content, call.signal))
}

export const uploadSpec: BodySpec = {
  description: 'One part per file; the filename of a part is its path in the repo.',
  content: { 'multipart/form-data': z.object({ file: z.array(z.unknown()) }) },
}
