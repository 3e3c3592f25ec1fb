/** Whether an adapter belongs on a base, as far as names and shapes can tell. */
import { CompressError } from '../../compress/errors.ts'
import { moduleOf, pairLora } from '../../tensors/adapter-config.ts'
import { matchBaseNames } from '../../tensors/name-map.ts'
import { elementCount, type TensorInfo } from '../../tensors/tensor.ts'
import type { UploadedExpert } from './expert-upload.ts'

export interface NamedBase {
  readonly ref: string
  readonly tensors: readonly TensorInfo[]
}

/** Heads that a checkpoint may lack: tied to the embedding, or made for the task. */
const LEFT_OUT = /(?:^|\.)(?:lm_head|embed_out|score|classifier|pooler\.dense)$/

/** Throws BASE_MISMATCH naming the module, ADAPTER_SHAPE_MISMATCH. */
export function checkAdapterFits(
  { kind, adapterConfig }: Pick<UploadedExpert, 'kind' | 'adapterConfig'>,
  tensors: readonly TensorInfo[],
  base: NamedBase,
): void {
  const targets = kind === 'lora' ? loraTargets(tensors) : ia3Targets(tensors)
  const shapes = new Map(base.tensors.map(({ name, shape }) => [name, shape]))
  const toBase = matchBaseNames(
    targets.map(({ module }) => `${module}.weight`),
    [...shapes.keys()],
  )
  for (const { module, fits, expected } of targets) {
    const name = toBase(`${module}.weight`)
    if (name === undefined && LEFT_OUT.test(module)) continue
    const shape = name === undefined ? undefined : shapes.get(name)
    if (shape !== undefined && fits(shape, adapterConfig?.fanInFanOut === true)) continue
    const found = shape === undefined ? 'has no such module' : `has shape [${shape.join(', ')}] there`
    throw new CompressError(
      'BASE_MISMATCH',
      `module ${module}: the adapter is made for ${expected}; ${base.ref} ${found}`,
      {
        module,
        base: base.ref,
        shape: shape ?? null,
      },
    )
  }
}

interface Target {
  readonly module: string
  readonly expected: string
  fits(shape: readonly number[], transposed: boolean): boolean
}

function loraTargets(tensors: readonly TensorInfo[]): Target[] {
  return pairLora(tensors).map(({ module, inFeatures, outFeatures, embedding }) => ({
    module,
    expected: `${inFeatures} in, ${outFeatures} out`,
    fits(shape, transposed) {
      const [first = 0, ...rest] = shape
      const others = elementCount(rest)
      // An embedding's weight is (tokens, features): in and out the other way round.
      return embedding || transposed
        ? first === inFeatures && others === outFeatures
        : first === outFeatures && others === inFeatures
    },
  }))
}

/** A vector scales the inputs or the outputs of its module. */
function ia3Targets(tensors: readonly TensorInfo[]): Target[] {
  return tensors
    .filter(({ name }) => name.includes('.ia3_l'))
    .map(({ name, shape }) => ({
      module: moduleOf(name),
      expected: `vectors of ${elementCount(shape)}`,
      fits: (weight) => weight.includes(elementCount(shape)),
    }))
}
