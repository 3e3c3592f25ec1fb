/**
 * A process that changes a registry and is killed at the n-th step: run by registry-crash.test.ts.
 * Arguments: folder, what to do (`publish`, `tag`, `delete`), step to die at (0: none). Prints each step it passes,
 * and `done <revision>` when the change was acknowledged.
 */
import { writeSync } from 'node:fs'
import { openIndex } from '../../registry/open-index.ts'
import { openStore } from '../../registry/open-store.ts'
import { Registry } from '../../registry/registry.ts'
import { request } from '../contract/registry-parts.ts'

const [folder = '', action = '', dieAt = '0'] = process.argv.slice(2)
let steps = 0

/** Synchronous: what was said before the kill must have been said. */
function say(line: string): void {
  writeSync(1, `${line}\n`)
}

function onStep(step: string): void {
  steps += 1
  say(`step ${step}`)
  if (steps === Number(dieAt)) process.kill(process.pid, 'SIGKILL')
}

const index = await openIndex(`sqlite:${folder}/index.db`)
const registry = new Registry({ store: await openStore(`file:${folder}/data`), index, onStep })
await registry.replayIntents()

if (action === 'publish') {
  const { revision } = await registry.publish(request('ns/one', 'second', { tags: ['latest'] }))
  say(`done ${revision}`)
} else if (action === 'tag') {
  const { revision } = await registry.setTag('ns/one', 'latest', 'main')
  say(`done ${revision}`)
} else if (action === 'delete') {
  await registry.deleteRepo('ns/one')
  say('done')
}
await index.close()
