/**
 * A zstd decoder that runs anywhere WebAssembly does (zstd-codec): where node:zlib has no zstd, and as the second opinion
 * in tests that every frame we write is readable elsewhere. Decodes only.
 *
 * The library has a fixed 16 MiB heap, returns cut-off frames as if they were whole, and knows no output limit. So it is
 * only given frames that zstd-frame.ts has walked: complete, at most 4 MiB raw, window at most 2^22, size stated.
 */
import type { ZstdBinding } from 'zstd-codec'

let binding: Promise<ZstdBinding> | undefined

/** Each `run` of the library makes a new WebAssembly module of 16 MiB: one is enough. */
function load(): Promise<ZstdBinding> {
  binding ??= import('zstd-codec').then(({ ZstdCodec }) => new Promise((resolve) => ZstdCodec.run(resolve)))
  return binding
}

/** `rawLength` is what the frame's header states (checked by listFrames); throws a plain Error when it is not met. */
export async function decodeFramePortable(frame: Uint8Array, rawLength: number): Promise<Uint8Array> {
  const { Simple } = await load()
  const raw = decodeOrForget(new Simple(), frame)
  if (raw === null) throw new Error('the frame does not decode')
  if (raw.length !== rawLength) throw new Error(`${raw.length} bytes came out where ${rawLength} were promised`)
  return raw
}

/** After an abort (its heap is full) the module may be in any state: the next call gets a fresh one. */
function decodeOrForget(codec: InstanceType<ZstdBinding['Simple']>, frame: Uint8Array): Uint8Array | null {
  try {
    return codec.decompress(frame)
  } catch (cause) {
    binding = undefined
    throw new Error('the decoder stopped', { cause })
  }
}
