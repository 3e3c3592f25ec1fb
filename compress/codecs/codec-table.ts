/** Every codec a container may name. */
import { CompressError } from '../errors.ts'
import { bitplane } from './bitplane.ts'
import { rice } from './rice.ts'
import { sgr } from './sgr.ts'
import type { TritCodec } from './trit-codec.ts'

const CODECS: readonly TritCodec[] = [bitplane, rice, sgr]

export function codecById(id: number): TritCodec {
  return known(
    CODECS.find((codec) => codec.id === id),
    id,
  )
}

export function codecByName(name: string): TritCodec {
  return known(
    CODECS.find((codec) => codec.name === name),
    name,
  )
}

function known(codec: TritCodec | undefined, asked: string | number): TritCodec {
  if (codec !== undefined) return codec
  const names = CODECS.map(({ id, name }) => `${name} (${id})`).join(', ')
  throw new CompressError('CODEC_UNKNOWN', `unknown trit codec ${asked}; this version of Tern knows ${names}`, {
    codec: asked,
  })
}
