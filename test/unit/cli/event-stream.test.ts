import { expect, test } from 'vitest'
import { type ServerEvent, serverEvents } from '../../../cli/event-stream.ts'

async function collect(chunks: readonly string[]): Promise<ServerEvent[]> {
  async function* body() {
    for (const chunk of chunks) yield new TextEncoder().encode(chunk)
  }
  const events: ServerEvent[] = []
  for await (const event of serverEvents(body())) events.push(event)
  return events
}

test('reads the name, the data and the id of an event', async () => {
  expect(await collect(['event: progress\nid: 7\ndata: {"done":1}\n\n'])).toEqual([
    { event: 'progress', data: '{"done":1}', id: '7' },
  ])
})

test('joins an event that arrives in pieces, also within a line break or a character', async () => {
  const bytes = new TextEncoder().encode('data: é\r\n\r\ndata: b\r\n\r\n')
  async function* body() {
    for (const byte of bytes) yield Uint8Array.of(byte)
  }
  const data: string[] = []
  for await (const event of serverEvents(body())) data.push(event.data)
  expect(data).toEqual(['é', 'b'])
})

test('joins several data lines by line breaks', async () => {
  expect((await collect(['data: a\ndata: b\n\n']))[0]?.data).toBe('a\nb')
})

test('skips comments, which servers send to keep the connection open', async () => {
  expect(await collect([': ping\n\n: ping\n\ndata: x\n\n'])).toHaveLength(1)
})

test('drops an event that the end of the stream cut off', async () => {
  expect(await collect(['data: whole\n\ndata: cut'])).toHaveLength(1)
})

test('refuses an event without an end instead of collecting it', async () => {
  await expect(collect(Array.from({ length: 40 }, () => 'x'.repeat(1 << 15)))).rejects.toThrow('more than')
})
