/** What the fuzzers have in common: a target makes an input from dice, and judges what the code made of it. */
import { CodedError } from '../../errors.ts'
import type { Dice } from './dice.ts'

/** A refusal by its code, or 'accepted': what a run counts. */
export type Outcome = string

export interface Target {
  readonly name: string
  /** Share of the cases of a run over all targets. */
  readonly weight: number
  /** Cases under way at the same time, for targets that wait for threads. */
  readonly width?: number
  /** Once before the first case; afterwards generate and run depend on their arguments alone. */
  prepare?(): Promise<void>
  generate(dice: Dice): Uint8Array
  /** Throws for anything but the right answer or a coded refusal: a Violation, or whatever the code threw. */
  run(input: Uint8Array): Outcome | Promise<Outcome>
  /** Makes a shortened input consistent again (its checksums), so that shortening reaches what is behind them. */
  repair?(input: Uint8Array): Uint8Array
}

/** Something that must not happen and is no exception of the code under test. */
export class Violation extends Error {
  override name = 'Violation'
}

/** Stops refusals that carry the refused file: they go into logs and responses. */
const MAX_MESSAGE = 8192

/** The code of a refusal; anything else is thrown again, as what was found. */
export function refusal(error: unknown, codes: readonly string[]): Outcome {
  if (!(error instanceof CodedError)) throw error
  if (!codes.includes(error.code)) throw new Violation(`refused with ${error.code}: ${error.message}`, { cause: error })
  if (error.message.length > MAX_MESSAGE) throw new Violation(`a message of ${error.message.length} characters`)
  const detail = JSON.stringify(error.detail)?.length ?? 0
  if (detail > MAX_MESSAGE) throw new Violation(`a detail of ${detail} characters with ${error.code}`)
  return error.code
}

export function expectSame(what: string, actual: unknown, expected: unknown): void {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (a !== b) throw new Violation(`${what}: ${a?.slice(0, 300)} is not ${b?.slice(0, 300)}`)
}

export function expectSameBytes(what: string, actual: ArrayBufferView, expected: ArrayBufferView): void {
  const bytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView) => Buffer.from(buffer, byteOffset, byteLength)
  if (Buffer.compare(bytes(actual), bytes(expected)) !== 0)
    throw new Violation(`${what}: ${actual.byteLength} bytes differ from the ${expected.byteLength} expected`)
}
