/**
 * Codec 3, "stratified gap rANS": rows and columns are sorted into density classes, and the gaps between non-zeros are
 * coded per pair of classes with static geometric tables. CODECS.md, "SGR".
 */
import { wasmHeap } from '../kernels/wasm-heap.ts'
import { chooseClasses } from './choose-classes.ts'
import { decodeSgrFrame, decodeSgrFrameInto, encodeSgrFrame, type SgrCoder } from './sgr-frame.ts'
import { referenceCoder } from './sgr-reference.ts'
import { readSide, writeSide } from './sgr-side.ts'
import { wasmCoder } from './sgr-wasm.ts'
import type { TritCodec } from './trit-codec.ts'

export const sgr: TritCodec = sgrWith(lazily(bestCoder))

/** SGR with the given inner loops; the bytes do not depend on them. */
export function sgrWith(coder: SgrCoder): TritCodec {
  return {
    id: 3,
    name: 'sgr',
    chooseSide: (counts) => writeSide(chooseClasses(counts)),
    sideLength: (bytes, offset, rows, cols) => readSide(bytes, offset, rows, cols).length,
    encodeFrame: (parts) => encodeSgrFrame(coder, parts),
    decodeFrame: (bytes, parts) => decodeSgrFrame(coder, bytes, parts),
    decodeInto: (bytes, part, target) => decodeSgrFrameInto(coder, bytes, part, target),
  }
}

function bestCoder(): SgrCoder {
  const heap = wasmHeap()
  return heap === undefined ? referenceCoder : wasmCoder(heap)
}

/** Compiles the module and builds its tables only where a frame is coded. */
function lazily(make: () => SgrCoder): SgrCoder {
  let made: SgrCoder | undefined
  const coder = () => {
    made ??= make()
    return made
  }
  return {
    encode: (parts, positions) => coder().encode(parts, positions),
    decode: (parts, sections) => coder().decode(parts, sections),
    decodeInto: (part, layout, sections, target) => coder().decodeInto?.(part, layout, sections, target) ?? false,
  }
}
