/** What the user may choose about the lossy step, and the checks on it. The one place that knows names and ranges. */
import { CompressError } from './errors.ts'
import { checkPatterns } from './name-patterns.ts'
import { PRESETS, type Preset, type PresetValues, presetValues } from './presets.ts'

export const KINDS = ['lora', 'ia3', 'full'] as const
export type ExpertKind = (typeof KINDS)[number]
export const SCOPES = ['global', 'tensor'] as const
export type Scope = (typeof SCOPES)[number]
export const SCALES = ['std', 'norm', 'mean', 'between'] as const
export type Scale = (typeof SCALES)[number]
export const TRANSFORMS = ['none', 'balance', 'svd', 'effect'] as const
export type Transform = (typeof TRANSFORMS)[number]
export const CODECS = ['sgr', 'rice', 'bitplane'] as const
export type CodecName = (typeof CODECS)[number]

/** Beyond these a multiplier is a typing error, and products with f32 scales would overflow. */
const MAX_FACTOR = 1e4
/** 40 magnitudes: finer than any expert needs. */
const MAX_LAYERS = 4

export interface CompressOptions {
  /** Fraction of the eligible entries that is kept, in (0, 1]. */
  readonly density: number
  /** Multiple of sigma, for `scale: std` alone; null otherwise. */
  readonly alpha: number | null
  /** One threshold (and one scale) for all eligible entries, or one per tensor. */
  readonly scope: Scope
  readonly scale: Scale
  /** Change of coordinates of each LoRA module before the threshold. */
  readonly transform: Transform
  /** Layers of trits: 1, 4, 13 or 40 magnitudes per entry. */
  readonly layers: number
  /**
   * Factor on every stored scale. A LoRA's update is a product of two scaled factors, so it grows by gain squared. The
   * reconstruction can apply another one without touching the trits.
   */
  readonly gain: number
  /** Patterns (name-patterns.ts) of tensors to compress although the rules or `exclude` leave them out. */
  readonly include: readonly string[]
  /** Patterns of tensors to keep losslessly. */
  readonly exclude: readonly string[]
  /** Refuse (FACTOR_LOST) where the default warns. */
  readonly strict: boolean
  readonly codec: CodecName
  readonly preset: Preset
}

/** Options as they arrive from a query string, a command line or JSON. Absent, null and '' mean the default. */
export type RawOptions = { readonly [K in keyof CompressOptions]?: unknown }

const NAMES: readonly (keyof CompressOptions)[] = [
  'density',
  'alpha',
  'scope',
  'scale',
  'transform',
  'layers',
  'gain',
  'include',
  'exclude',
  'strict',
  'codec',
  'preset',
]

/**
 * Fills in what `raw` leaves open: from the preset and the kind of expert, and from `alpha`, which asks for ComPEFT's
 * own rule and so sets `scale: std`, `transform: none` and one layer unless they are given, as `scale: std` does. Throws PARAMETER_INVALID naming the
 * parameter, the value and what is allowed.
 */
export function resolveOptions(kind: ExpertKind, raw: RawOptions = {}): CompressOptions {
  checkNames(raw)
  const preset = choice('preset', raw.preset, PRESETS) ?? 'balanced'
  return {
    ...lossyOptions(kind, raw, presetValues(preset, kind)),
    gain: number('gain', raw.gain, 0, MAX_FACTOR) ?? 1,
    include: patterns('include', raw.include),
    exclude: patterns('exclude', raw.exclude),
    strict: flag('strict', raw.strict) ?? false,
    codec: choice('codec', raw.codec, CODECS) ?? 'sgr',
    preset,
  }
}

/** What depends on each other. */
function lossyOptions(kind: ExpertKind, raw: RawOptions, base: PresetValues): PresetValues {
  const alpha = number('alpha', raw.alpha, 0, MAX_FACTOR)
  const scale = choice('scale', raw.scale, SCALES) ?? (alpha === undefined ? scaleFor(raw, base) : 'std')
  if (alpha !== undefined && scale !== 'std') {
    throw invalid('alpha', raw.alpha, `no value beside scale '${scale}': alpha multiplies sigma, which is scale 'std'`)
  }
  // sigma knows one magnitude, in the factors' own coordinates.
  const own = scale === 'std' ? { transform: 'none' as const, layers: 1 } : base
  const transform = choice('transform', raw.transform, TRANSFORMS) ?? own.transform
  if (transform !== 'none' && kind !== 'lora') {
    throw invalid('transform', transform, `'none' for an expert of kind '${kind}': it changes LoRA factors`)
  }
  const layers = count('layers', raw.layers, MAX_LAYERS) ?? own.layers
  if (scale === 'std' && (layers > 1 || transform === 'effect')) {
    throw invalid('scale', scale, `'norm', 'mean' or 'between' with ${layers} layers and transform '${transform}'`)
  }
  return {
    density: number('density', raw.density, 0, 1) ?? base.density,
    alpha: scale === 'std' ? (alpha ?? base.alpha ?? 1) : null,
    scope: choice('scope', raw.scope, SCOPES) ?? scopeFor(transform, base),
    scale,
    transform,
    layers,
  }
}

/** Scales between were measured for fitted modules alone. */
function scaleFor(raw: RawOptions, base: PresetValues): Scale {
  const isFitted = isAbsent(raw.transform) || raw.transform === 'effect'
  return base.scale === 'between' && !isFitted ? 'norm' : base.scale
}

/** Entries of A and B may compete with each other where each counts by its effect; elsewhere A would crowd out B. */
function scopeFor(transform: Transform, base: PresetValues): Scope {
  return base.transform === 'effect' && transform !== 'effect' ? 'tensor' : base.scope
}

function checkNames(raw: RawOptions): void {
  for (const key of Object.keys(raw)) {
    if (!(NAMES as readonly string[]).includes(key)) {
      throw new CompressError(
        'PARAMETER_INVALID',
        `unknown parameter ${quoted(key)}: allowed are ${NAMES.join(', ')}`,
        {
          parameter: key,
          allowed: NAMES,
        },
      )
    }
  }
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null || value === ''
}

/** A decimal number in (above, atMost]. */
function number(name: keyof CompressOptions, value: unknown, above: number, atMost: number): number | undefined {
  if (isAbsent(value)) return undefined
  const parsed = typeof value === 'number' ? value : typeof value === 'string' ? decimal(value) : Number.NaN
  if (!(parsed > above && parsed <= atMost)) {
    throw invalid(name, value, `a number greater than ${above} and at most ${atMost}`)
  }
  return parsed
}

/** A whole number from 1 to `most`. */
function count(name: keyof CompressOptions, value: unknown, most: number): number | undefined {
  const parsed = number(name, value, 0, most)
  if (parsed !== undefined && !Number.isInteger(parsed)) throw invalid(name, value, `a whole number from 1 to ${most}`)
  return parsed
}

/** Number() would also take '0x1', ' 1 ' and 'Infinity'. */
function decimal(text: string): number {
  return /^\d{0,20}\.?\d{0,20}(e[+-]?\d{1,3})?$/i.test(text) && /\d/.test(text) ? Number(text) : Number.NaN
}

function choice<T extends string>(name: keyof CompressOptions, value: unknown, allowed: readonly T[]): T | undefined {
  if (isAbsent(value)) return undefined
  const found = allowed.find((candidate) => candidate === value)
  if (found === undefined) throw invalid(name, value, allowed.map((candidate) => `'${candidate}'`).join(', '))
  return found
}

function flag(name: keyof CompressOptions, value: unknown): boolean | undefined {
  if (isAbsent(value)) return undefined
  if (value === true || value === 1 || value === '1' || value === 'true') return true
  if (value === false || value === 0 || value === '0' || value === 'false') return false
  throw invalid(name, value, "'true', 'false', 1 or 0")
}

/** A list of strings, or one string with commas. */
function patterns(name: 'include' | 'exclude', value: unknown): readonly string[] {
  if (isAbsent(value)) return []
  const list: unknown[] = typeof value === 'string' ? value.split(',') : Array.isArray(value) ? value : [value]
  const texts = list.map((item) => {
    if (typeof item !== 'string') throw invalid(name, value, 'a list of name patterns')
    return item.trim()
  })
  const problem = checkPatterns(texts)
  if (problem !== undefined) throw invalid(name, value, problem)
  return texts
}

function invalid(name: keyof CompressOptions, value: unknown, allowed: string): CompressError {
  return new CompressError('PARAMETER_INVALID', `${name} is ${quoted(value)}; allowed: ${allowed}`, {
    parameter: name,
    value: quoted(value),
    allowed,
  })
}

/** The value as JSON, cut: it comes from outside and goes into messages and logs. */
function quoted(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 100)
}
