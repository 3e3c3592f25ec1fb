/** zstd runs: the walker that checks their structure, then two decoders, which must agree. */
import * as zlib from 'node:zlib'
import { decodeFrameNative, decompress } from '../../compress/bytes/zstd.ts'
import { listFrames } from '../../compress/bytes/zstd-frame.ts'
import { decodeFramePortable } from '../../compress/bytes/zstd-portable.ts'
import { Dice, EDGES } from './dice.ts'
import { mutateBytes } from './mutate-bytes.ts'
import { expectSameBytes, type Outcome, refusal, type Target, Violation } from './target.ts'

const runs: { raw: number; run: Uint8Array }[] = []

/** The raw length (4 bytes), then the run. */
export const zstdTarget: Target = {
  name: 'zstd',
  weight: 2,
  async prepare() {
    const dice = new Dice(3)
    for (let i = 0; i < 60; i++) {
      const raw = i % 3 === 0 ? dice.bytes(dice.length(600)) : new Uint8Array(dice.length(600)).fill(i)
      runs.push({ raw: raw.length, run: pack(dice, raw) })
    }
  },
  generate(dice) {
    const { raw, run } = dice.pick(runs)
    const changed = dice.chance(0.9) ? mutateBytes(dice, run, dice.pick(runs).run) : run
    const length = dice.chance(0.9) ? raw : dice.pick(EDGES) % 2 ** 23
    const input = new Uint8Array(4 + changed.length)
    new DataView(input.buffer).setUint32(0, length, true)
    input.set(changed, 4)
    return input
  },
  run: compare,
}

function pack(dice: Dice, raw: Uint8Array): Uint8Array {
  const { ZSTD_c_checksumFlag, ZSTD_c_windowLog, ZSTD_c_compressionLevel } = zlib.constants
  const params = {
    [ZSTD_c_compressionLevel]: dice.pick([1, 19]),
    [ZSTD_c_checksumFlag]: 1,
    [ZSTD_c_windowLog]: dice.pick([10, 17, 22]),
  }
  return new Uint8Array(zlib.zstdCompressSync(raw, { params, pledgedSrcSize: raw.length }))
}

async function compare(input: Uint8Array): Promise<Outcome> {
  if (input.length < 4) return 'cut'
  const raw = new DataView(input.buffer, input.byteOffset).getUint32(0, true)
  const run = input.subarray(4)
  try {
    const frames = listFrames(run, raw, 'run')
    const ends = frames.map(({ end }) => end)
    if ((ends.at(-1) ?? 0) !== run.length) throw new Violation(`frames end at ${ends}, the run at ${run.length}`)
  } catch (error) {
    return refusal(error, ['CONTAINER_INVALID'])
  }
  const native = await decoded(run, raw, decodeFrameNative)
  const portable = await decoded(run, raw, decodeFramePortable)
  // The portable library is an old one: it passes over reserved bits that newer ones look at. Never the other way round.
  if (native === undefined) return portable === undefined ? 'refused by decoders' : 'refused by node:zlib'
  if (portable === undefined) throw new Violation('node:zlib decodes what the other library refuses')
  expectSameBytes('raw bytes', portable, native)
  if (native.length !== raw) throw new Violation(`${native.length} raw bytes for ${raw}`)
  return 'accepted'
}

async function decoded(run: Uint8Array, raw: number, decode: typeof decodeFrameNative) {
  try {
    return await decompress(run, raw, 'run', decode)
  } catch (error) {
    refusal(error, ['CONTAINER_INVALID'])
    return undefined
  }
}
