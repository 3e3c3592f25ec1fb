/** The containers of spec/vectors/valid, as plain arrays. What a reader must make of them is computed from these alone. */
import { chunks, dtypes, empty, full, fullWithMappedNames, lossless, names } from './byte-cases.ts'
import type { ValidCase } from './case.ts'
import { extremes, frames, gain, ia3, layers, lora, manySmallTensors, scaleValues, sharedScales } from './trit-cases.ts'

const CODECS = ['bitplane', 'rice', 'sgr'] as const
export function validCases(): ValidCase[] {
  return [
    empty(),
    ...CODECS.map(lora),
    ...CODECS.map(frames),
    ...CODECS.map(extremes),
    ...CODECS.map(layers),
    dtypes(),
    lossless(),
    chunks(),
    full(),
    fullWithMappedNames(),
    ia3(),
    gain(),
    names(),
    sharedScales(),
    scaleValues(),
    manySmallTensors(),
  ]
}
