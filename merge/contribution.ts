/** How an input's tensors lie on the base's: for each base tensor, what the input says about it. */
import { adapterRole, type LoraPair, loraScaling, moduleOf, pairLora } from '../tensors/adapter-config.ts'
import { matchBaseNames } from '../tensors/name-map.ts'
import { elementCount, type TensorInfo, type TensorSource } from '../tensors/tensor.ts'
import { plainLoraConfig } from './adapter-features.ts'
import { MergeError } from './errors.ts'
import type { MergeInput } from './input.ts'

/** One piece of an input's say about one tensor. `full` is the value itself, the others are added to a value. */
export type Part = FullPart | DeltaPart | LowRankPart

export interface FullPart {
  readonly kind: 'full'
  readonly source: TensorSource
  readonly info: TensorInfo
  /** Whole tensors of adapters and experts do not widen the output's dtype; those of models do. */
  readonly ofModel: boolean
}

export interface DeltaPart {
  readonly kind: 'delta'
  readonly source: TensorSource
  readonly info: TensorInfo
}

/** scaling * B.A, transposed for embeddings and for weights stored (in, out). */
export interface LowRankPart {
  readonly kind: 'low_rank'
  readonly source: TensorSource
  readonly pair: LoraPair
  readonly scaling: number
  readonly transposed: boolean
}

export interface Layout {
  /** By the base's tensor name. A name that is absent means: unchanged. */
  readonly parts: ReadonlyMap<string, readonly Part[]>
  /** Whole tensors that the base does not have, by the name they would get. */
  readonly extras: ReadonlyMap<string, FullPart>
}

export type NamedTensors = ReadonlyMap<string, TensorInfo>

export function byName(tensors: readonly TensorInfo[]): NamedTensors {
  return new Map(tensors.map((info) => [info.name, info]))
}

/** Throws SHAPE_MISMATCH, BASE_DIFFERS or MERGE_UNSUPPORTED naming the tensor; reads no tensor. */
export function layOut(input: MergeInput, base: NamedTensors): Layout {
  return input.kind === 'lora' ? layOutAdapter(input, base) : layOutTensors(input, base)
}

/** One input on top of another: differences add up, whole tensors replace. */
export function stackLayouts(lower: Layout, upper: Layout): Layout {
  const parts = new Map(lower.parts)
  for (const [name, above] of upper.parts) {
    const replaces = above.some(({ kind }) => kind === 'full')
    parts.set(name, replaces ? above : [...(parts.get(name) ?? []), ...above])
  }
  return { parts, extras: new Map([...lower.extras, ...upper.extras]) }
}

function layOutTensors(input: MergeInput, base: NamedTensors): Layout {
  const { source, kind } = input
  const parts = new Map<string, readonly Part[]>()
  const extras = new Map<string, FullPart>()
  const match = matchBaseNames(
    source.tensors.map(({ name }) => name),
    [...base.keys()],
  )
  for (const info of source.tensors) {
    const target = base.get(match(info.name) ?? '')
    if (target) {
      checkShape(input, info, target)
      parts.set(target.name, [
        kind === 'model' ? { kind: 'full', source, info, ofModel: true } : { kind: 'delta', source, info },
      ])
    } else extras.set(info.name, { kind: 'full', source, info, ofModel: kind === 'model' })
  }
  if (parts.size === 0) throw nothingMatches(input, source.tensors[0]?.name)
  return { parts, extras }
}

function layOutAdapter(input: MergeInput, base: NamedTensors): Layout {
  const { source } = input
  const config = plainLoraConfig(input)
  const pairs = pairLora(source.tensors)
  const saved = source.tensors.filter(({ name }) => adapterRole(name) === 'saved')
  const match = matchBaseNames(
    [...pairs.map(({ module }) => `${module}.weight`), ...saved.map(({ name }) => moduleOf(name))],
    [...base.keys()],
  )
  const parts = new Map<string, readonly Part[]>()
  const extras = new Map<string, FullPart>()
  for (const pair of pairs) {
    const target = base.get(match(`${pair.module}.weight`) ?? '')
    if (!target) throw moduleMissing(input, pair.module)
    const scaling = loraScaling(config, pair.module, pair.rank)
    const transposed = isTransposed(input, pair, target, config.fanInFanOut)
    parts.set(target.name, [{ kind: 'low_rank', source, pair, scaling, transposed }])
  }
  for (const info of saved) {
    const full: FullPart = { kind: 'full', source, info, ofModel: false }
    const name = moduleOf(info.name)
    const target = base.get(match(name) ?? '')
    if (target) {
      checkShape(input, info, target)
      parts.set(target.name, [full])
    } else extras.set(name, full)
  }
  return { parts, extras }
}

/**
 * PEFT corrects a wrong `fan_in_fan_out` from the kind of layer when it loads an adapter. Here the shape says the
 * same: the flag decides only where both readings fit, on a square weight.
 */
function isTransposed(input: MergeInput, pair: LoraPair, target: TensorInfo, fanInFanOut: boolean): boolean {
  const [first = 0, ...rest] = target.shape
  const second = elementCount(rest)
  const { outFeatures, inFeatures } = pair
  const plain = rest.length > 0 && first === outFeatures && second === inFeatures
  const turned = rest.length === 1 && first === inFeatures && second === outFeatures
  if (pair.embedding ? turned : plain || turned) return pair.embedding || (fanInFanOut && turned) || !plain
  throw new MergeError(
    'SHAPE_MISMATCH',
    `module ${pair.module} of ${input.ref} changes a weight of shape [${outFeatures}, ${inFeatures}], but the base's ` +
      `${target.name} has shape [${target.shape.join(', ')}]`,
    { tensor: target.name, input: input.ref, shape: [outFeatures, inFeatures], baseShape: target.shape },
  )
}

export function checkShape(input: { readonly ref: string }, info: TensorInfo, target: TensorInfo): void {
  if (info.shape.length === target.shape.length && info.shape.every((size, i) => size === target.shape[i])) return
  throw new MergeError(
    'SHAPE_MISMATCH',
    `tensor ${target.name}: ${input.ref} has shape [${info.shape.join(', ')}], ` +
      `expected [${target.shape.join(', ')}]. Models of different architecture or vocabulary cannot be merged`,
    { tensor: target.name, input: input.ref, shape: info.shape, baseShape: target.shape },
  )
}

function nothingMatches(input: MergeInput, example: string | undefined): MergeError {
  return new MergeError(
    'BASE_DIFFERS',
    `no tensor of ${input.ref} (the first is ${example ?? 'missing: it is empty'}) is in the base`,
    { input: input.ref, tensor: example },
  )
}

function moduleMissing(input: MergeInput, module: string): MergeError {
  const hint = module.endsWith('lm_head') ? ' (its output layer may be tied to the embedding)' : ''
  return new MergeError(
    'BASE_DIFFERS',
    `adapter ${input.ref} changes module ${module}, but the base has no ${module}.weight${hint}: ` +
      'the adapter was made for another base',
    { input: input.ref, module },
  )
}
