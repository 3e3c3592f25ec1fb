/**
 * The task vector tau = expert - origin, tensor by tensor: what is in it and where its parts lie. Origin: zero for
 * LoRA, one for (IA)3, the base's weights for a full fine-tune (ALGORITHM.md, "Task vector"). Works on headers alone;
 * node/tau-reader.ts reads the values.
 */
import { type LoraPair, pairLora } from '../tensors/adapter-config.ts'
import { TensorError } from '../tensors/errors.ts'
import { matchBaseNames } from '../tensors/name-map.ts'
import type { TensorInfo } from '../tensors/tensor.ts'
import type { LocatedSource, TensorLocation } from '../tensors/tensor-location.ts'
import { isEligible } from './eligibility.ts'
import { CompressError } from './errors.ts'
import type { CompressOptions, ExpertKind } from './options.ts'

/** What a plan is made from; `base` is needed for `full` alone. */
export interface TaskVectorInput {
  readonly kind: ExpertKind
  readonly source: LocatedSource
  readonly base?: { readonly source?: LocatedSource }
}

export type Origin = 'zero' | 'one' | 'base'

/** One tensor of tau: its values minus 0, 1, or the values at another place. Plain data, so it can go to a worker. */
export interface TauTensor {
  readonly name: string
  readonly location: TensorLocation
  readonly origin: 0 | 1 | TensorLocation
}

export interface TensorUnit {
  readonly kind: 'tensor'
  readonly tensor: TauTensor
}

/** A LoRA module: `a` is rank x inFeatures, `b` is outFeatures x rank. */
export interface PairUnit {
  readonly kind: 'pair'
  readonly module: string
  readonly rank: number
  readonly inFeatures: number
  readonly outFeatures: number
  readonly a: TauTensor
  readonly b: TauTensor
}

/** What is measured and quantised together: a tensor, or the two factors of a LoRA module. */
export type Unit = TensorUnit | PairUnit

export interface LosslessTensor {
  readonly info: TensorInfo
  readonly location: TensorLocation
  /** The base's tensor of the same dtype and shape, to code the difference to. */
  readonly reference?: TensorLocation
}

export interface TaskVectorPlan {
  readonly origin: Origin
  /** In the expert's own order, which becomes the container's table order. */
  readonly tensors: readonly (TensorInfo & { readonly storage: 'trits' | 'lossless' })[]
  /** In table order of their first tensor. */
  readonly units: readonly Unit[]
  /** In table order. */
  readonly lossless: readonly LosslessTensor[]
  /** Expert name -> base name of the tensors that need the base and are named differently there. */
  readonly baseNames: 'same' | Readonly<Record<string, string>>
}

/** The tensors of a unit: one, or A and B. */
export function unitTensors(unit: Unit): readonly TauTensor[] {
  return unit.kind === 'tensor' ? [unit.tensor] : [unit.a, unit.b]
}

/**
 * Decides what becomes ternary and what stays as it is.
 * Throws BASE_REQUIRED, BASE_MISMATCH (names a tensor and the numbers), ADAPTER_SHAPE_MISMATCH, ADAPTER_CONFIG_INVALID.
 */
export function planTaskVector(input: TaskVectorInput, options: CompressOptions): TaskVectorPlan {
  const eligible = (info: TensorInfo) => isEligible(info, input.kind, options)
  if (input.kind === 'lora') return planLora(input.source, eligible)
  if (input.kind === 'ia3') return planIa3(input.source, eligible)
  return planFull(input, eligible)
}

type Test = (info: TensorInfo) => boolean

/** Both factors of a module go together: one of them left out leaves out the other. */
function planLora(source: LocatedSource, eligible: Test): TaskVectorPlan {
  const infos = new Map(source.tensors.map((info) => [info.name, info]))
  const pairs = pairLora(source.tensors)
  if (pairs.length === 0) {
    throw new TensorError(
      'ADAPTER_CONFIG_INVALID',
      'the adapter is said to be a LoRA, but no lora_A is in its tensors',
      {
        tensors: source.tensors.length,
      },
    )
  }
  const pairOf = new Map(pairs.flatMap((pair) => [pair.a, pair.b].map((name) => [name, pair] as const)))
  const both = ({ a, b }: LoraPair) => [a, b].map((name) => infos.get(name) as TensorInfo)
  const units: Unit[] = []
  const done = new Set<LoraPair>()
  for (const info of source.tensors) {
    const pair = pairOf.get(info.name)
    if (pair === undefined) {
      if (eligible(info)) units.push(tensorUnit(source, info, 0))
    } else if (!done.has(pair)) {
      done.add(pair)
      if (both(pair).every(eligible)) units.push(...pairUnits(source, pair, both(pair)))
    }
  }
  return plan('zero', source, units, () => undefined)
}

/** Matrices make a pair; the factors of a convolution have no rank axis of their own and are taken one by one. */
function pairUnits(source: LocatedSource, pair: LoraPair, infos: readonly TensorInfo[]): Unit[] {
  if (infos.some(({ shape }) => shape.length !== 2)) return infos.map((info) => tensorUnit(source, info, 0))
  const { module, rank, inFeatures, outFeatures } = pair
  const tau = (name: string): TauTensor => ({ name, location: source.locate(name), origin: 0 })
  return [{ kind: 'pair', module, rank, inFeatures, outFeatures, a: tau(pair.a), b: tau(pair.b) }]
}

function planIa3(source: LocatedSource, eligible: Test): TaskVectorPlan {
  const units = source.tensors.filter(eligible).map((info) => tensorUnit(source, info, 1))
  return plan('one', source, units, () => undefined)
}

function planFull({ source, base }: TaskVectorInput, eligible: Test): TaskVectorPlan {
  const baseSource = base?.source
  if (baseSource === undefined) {
    throw new CompressError('BASE_REQUIRED', 'a full fine-tune is compressed against its base: name the base', {})
  }
  const baseInfos = new Map(baseSource.tensors.map((info) => [info.name, info]))
  const baseNameOf = matchBaseNames(
    source.tensors.map(({ name }) => name),
    baseSource.tensors.map(({ name }) => name),
  )
  const inBase = (name: string) => baseInfos.get(baseNameOf(name) ?? '')
  const wanted = source.tensors.filter(eligible)
  checkOverlap(wanted, (info) => inBase(info.name) !== undefined)
  const units = wanted.flatMap((info) => {
    const match = inBase(info.name)
    if (match === undefined) return []
    checkShapes(info, match)
    return [tensorUnit(source, info, baseSource.locate(match.name))]
  })
  return plan('base', source, units, (info) => {
    const match = inBase(info.name)
    return match === undefined ? undefined : { ...match, location: baseSource.locate(match.name) }
  })
}

/** Fewer than half of the weight matrices in the base: it is another model, and a difference to it means nothing. */
function checkOverlap(wanted: readonly TensorInfo[], isMatched: Test): void {
  const missing = wanted.filter((info) => !isMatched(info))
  if (missing.length * 2 <= wanted.length) return
  const first = missing[0] as TensorInfo
  throw new CompressError(
    'BASE_MISMATCH',
    `${missing.length} of ${wanted.length} weight matrices are not in the base, the first is ${first.name}: wrong base?`,
    { tensor: first.name, missing: missing.length, tensors: wanted.length },
  )
}

function checkShapes(info: TensorInfo, base: TensorInfo): void {
  const same = info.shape.length === base.shape.length && info.shape.every((size, axis) => size === base.shape[axis])
  if (same) return
  throw new CompressError(
    'BASE_MISMATCH',
    `${info.name} is [${info.shape.join(', ')}] but [${base.shape.join(', ')}] in the base (${base.name}): wrong base?`,
    { tensor: info.name, shape: info.shape, baseTensor: base.name, baseShape: base.shape },
  )
}

function tensorUnit(source: LocatedSource, info: TensorInfo, origin: TauTensor['origin']): TensorUnit {
  return { kind: 'tensor', tensor: { name: info.name, location: source.locate(info.name), origin } }
}

type BaseMatch = TensorInfo & { readonly location: TensorLocation }

function plan(
  origin: Origin,
  source: LocatedSource,
  units: readonly Unit[],
  baseOf: (info: TensorInfo) => BaseMatch | undefined,
): TaskVectorPlan {
  const ternary = new Set(units.flatMap((unit) => unitTensors(unit).map(({ name }) => name)))
  const differences: [string, string][] = []
  const lossless: LosslessTensor[] = []
  for (const info of source.tensors) {
    const match = baseOf(info)
    const isReference = match !== undefined && isSameForm(info, match)
    const needsBase = ternary.has(info.name) || isReference
    if (match !== undefined && needsBase && match.name !== info.name) differences.push([info.name, match.name])
    if (ternary.has(info.name)) continue
    lossless.push({ info, location: source.locate(info.name), ...(isReference ? { reference: match.location } : {}) })
  }
  return {
    origin,
    tensors: source.tensors.map(({ name, dtype, shape }) => ({
      name,
      dtype,
      shape,
      storage: ternary.has(name) ? 'trits' : 'lossless',
    })),
    units,
    lossless,
    baseNames: differences.length === 0 ? 'same' : Object.fromEntries(differences),
  }
}

function isSameForm(info: TensorInfo, base: TensorInfo): boolean {
  return info.dtype === base.dtype && info.shape.join() === base.shape.join()
}
