/** A throw-away HTTP server for the tests of the client: listens on a free port of the loopback interface. */
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type ApiTarget, apiTarget } from '../../../cli/api-client.ts'

export interface LocalServer {
  readonly target: ApiTarget
  close(): Promise<void>
}

/** `onExpect` answers requests that ask before they send their body; without it they are asked for it. */
export async function startServer(listener: RequestListener, onExpect?: RequestListener): Promise<LocalServer> {
  const server = createServer(listener)
  if (onExpect) server.on('checkContinue', onExpect)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    target: apiTarget(`http://127.0.0.1:${port}`, 'secret-token', new AbortController().signal),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
