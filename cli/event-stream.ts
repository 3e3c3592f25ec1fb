/** Server-sent events (the HTML standard's event stream) as an async generator. */

export interface ServerEvent {
  readonly event: string
  readonly data: string
  readonly id: string | undefined
}

/** One event is a few hundred bytes of JSON; a stream without line breaks must not grow in memory. */
const MAX_PENDING = 1 << 20

/** Yields events until the stream ends. Comments (keep-alives) are skipped; a last event without a blank line is lost. */
export async function* serverEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder()
  let pending = ''
  for await (const chunk of body) {
    pending = (pending + decoder.decode(chunk, { stream: true })).replaceAll('\r\n', '\n')
    if (pending.length > MAX_PENDING) throw new Error(`an event of more than ${MAX_PENDING} characters`)
    const blocks = pending.split('\n\n')
    pending = blocks.pop() ?? ''
    for (const block of blocks) {
      const event = parseBlock(block)
      if (event) yield event
    }
  }
}

function parseBlock(block: string): ServerEvent | undefined {
  let event = 'message'
  let id: string | undefined
  const data: string[] = []
  for (const line of block.split('\n')) {
    const colon = line.indexOf(':')
    if (colon === 0) continue
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (field === 'event') event = value
    if (field === 'id') id = value
    if (field === 'data') data.push(value)
  }
  return data.length > 0 ? { event, data: data.join('\n'), id } : undefined
}
