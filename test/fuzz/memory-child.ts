/** Opens one bomb in a process of its own; prints what came of it and how far its memory grew beyond what it had. */
import { readFileSync } from 'node:fs'
import { openContainer } from '../../compress/container-reader.ts'
import { CodedError } from '../../errors.ts'
import { memorySource } from '../../tensors/byte-source.ts'

const file = new Uint8Array(readFileSync(process.argv[2]!))
const before = process.resourceUsage().maxRSS
let outcome = 'opened'
let message = 0
try {
  await openContainer(memorySource(file))
} catch (error) {
  if (!(error instanceof CodedError)) throw error
  outcome = error.code
  message = error.message.length
}
const grown = (process.resourceUsage().maxRSS - before) * 1024
process.stdout.write(JSON.stringify({ outcome, message, grown }))
