/**
 * PEFT's adapter_config.json and the tensor names of the adapter file beside it: what a tensor is for, which lora_A
 * belongs to which lora_B, and the factor their product is applied with. The rules are those of PEFT 0.21.
 */
import { TensorError } from './errors.ts'
import { compilePatterns, type ModulePatterns, PatternError } from './module-pattern.ts'
import { type JsonObject, type JsonValue, parseStrictJson, StrictJsonError, toPlainJson } from './strict-json.ts'
import type { TensorInfo } from './tensor.ts'

/** Stops a configuration that is really something else; the real ones have some kilobytes. */
const MAX_CONFIG_CHARACTERS = 4_000_000
const CONFIG_LIMITS = { depth: 32, values: 200_000, members: 20_000 }
/** Stops a rank that no matrix has; every real rank is far below. */
const MAX_RANK = 1_000_000

export interface AdapterConfig {
  readonly peftType: 'LORA' | 'IA3'
  /** Rank where no pattern says otherwise; 0 for (IA)3. */
  readonly r: number
  /** LoRA's own alpha (never called alpha here: that is ComPEFT's); 0 for (IA)3. */
  readonly loraAlpha: number
  readonly useRslora: boolean
  readonly useDora: boolean
  readonly loraBias: boolean
  readonly bias: 'none' | 'all' | 'lora_only'
  /** The base's weights are stored (in, out), as in GPT-2's Conv1D. */
  readonly fanInFanOut: boolean
  /** Pattern over module names -> rank; the first that matches wins. */
  readonly rankPattern: Readonly<Record<string, number>>
  readonly alphaPattern: Readonly<Record<string, number>>
  /** A list of name suffixes, or one regular expression. */
  readonly targetModules: readonly string[] | string | null
  /** (IA)3 modules whose vector multiplies the input instead of the output. */
  readonly feedforwardModules: readonly string[] | string | null
  readonly modulesToSave: readonly string[]
  readonly baseModelNameOrPath: string | null
  /** The whole file, as it was. */
  readonly raw: Readonly<Record<string, unknown>>
}

export type AdapterRole =
  | 'lora_A'
  | 'lora_B'
  | 'lora_embedding_A'
  | 'lora_embedding_B'
  | 'lora_magnitude_vector'
  | 'lora_bias'
  | 'ia3'
  | 'saved'
  | 'other'

/** The two factors of one module. For an embedding the product is transposed when it is applied. */
export interface LoraPair {
  /** As in the base model: `bert.encoder.layer.0.attention.self.query`. */
  readonly module: string
  /** Tensor name of lora_A: (rank, inFeatures), or (rank, in, kernel...) of a convolution. */
  readonly a: string
  /** Tensor name of lora_B: (outFeatures, rank), or (out, rank, 1...) of a convolution. */
  readonly b: string
  readonly rank: number
  /** For a convolution the product of its input channels and kernel; for an embedding the number of tokens. */
  readonly inFeatures: number
  readonly outFeatures: number
  readonly embedding: boolean
}

/** Reads adapter_config.json; absent fields get PEFT's defaults. Throws ADAPTER_CONFIG_INVALID naming the field. */
export function parseAdapterConfig(text: string): AdapterConfig {
  const fields = new Fields(parseRoot(text))
  const peftType = fields.oneOf('peft_type', ['LORA', 'IA3'])
  const lora = peftType === 'LORA'
  const config: AdapterConfig = {
    peftType,
    r: lora ? fields.rank('r', 8) : 0,
    loraAlpha: lora ? fields.number('lora_alpha', 8) : 0,
    useRslora: fields.flag('use_rslora'),
    useDora: fields.flag('use_dora'),
    loraBias: fields.flag('lora_bias'),
    bias: fields.oneOf('bias', ['none', 'all', 'lora_only'], 'none'),
    fanInFanOut: fields.flag('fan_in_fan_out'),
    rankPattern: fields.pattern('rank_pattern', 'rank'),
    alphaPattern: fields.pattern('alpha_pattern', 'number'),
    targetModules: fields.namesOrRegex('target_modules'),
    feedforwardModules: fields.namesOrRegex('feedforward_modules'),
    modulesToSave: [...new Set(fields.names('modules_to_save'))],
    baseModelNameOrPath: fields.text('base_model_name_or_path'),
    raw: fields.raw,
  }
  // Compiles the patterns, so that one that cannot be used is refused here.
  findPattern(config.rankPattern, 'rank_pattern', '')
  findPattern(config.alphaPattern, 'alpha_pattern', '')
  return config
}

const ROLE_SUFFIXES: readonly (readonly [suffix: string, role: AdapterRole])[] = [
  ['.lora_A.weight', 'lora_A'],
  ['.lora_B.weight', 'lora_B'],
  ['.lora_B.bias', 'lora_bias'],
  ['.lora_embedding_A', 'lora_embedding_A'],
  ['.lora_embedding_B', 'lora_embedding_B'],
  ['.lora_magnitude_vector', 'lora_magnitude_vector'],
  ['.lora_magnitude_vector.weight', 'lora_magnitude_vector'],
  ['.ia3_l', 'ia3'],
]

/** Parts of names that only adapters have. Where no suffix above fits, the tensor is of a method Tern does not know. */
const ADAPTER_PART = /(?:^|\.)(?:lora|ia3|hada|lokr|oft|boft|vera|prompt|trainable_tokens)_[^.]*(?:\.|$)/

/**
 * What a tensor of an adapter file is for. `saved`: a whole tensor that replaces or joins the base's
 * (modules_to_save, trained biases). `other`: part of an adapter method that Tern does not know.
 */
export function adapterRole(name: string): AdapterRole {
  const known = ROLE_SUFFIXES.find(([suffix]) => name.endsWith(suffix))
  if (known) return known[1]
  return ADAPTER_PART.test(name) ? 'other' : 'saved'
}

const PEFT_PREFIX = 'base_model.model.'

/**
 * The base model's name for what a tensor changes: `base_model.model.` and the role's suffix are taken off. For a
 * saved tensor that is the base's tensor name (`classifier.weight`), without PEFT's wrapper parts.
 */
export function moduleOf(name: string): string {
  const path = name.startsWith(PEFT_PREFIX) ? name.slice(PEFT_PREFIX.length) : name
  const known = ROLE_SUFFIXES.find(([suffix]) => path.endsWith(suffix))
  if (known) return path.slice(0, -known[0].length)
  return path.replace(/\.(?:base_layer|modules_to_save)(?=\.)/g, '')
}

/**
 * The LoRA pairs of an adapter file, in the order of their lora_A. Throws ADAPTER_SHAPE_MISMATCH with both names and
 * shapes where ranks differ or a factor is alone.
 */
export function pairLora(tensors: readonly TensorInfo[]): LoraPair[] {
  const byRole = new Map<string, TensorInfo>()
  for (const tensor of tensors) byRole.set(`${adapterRole(tensor.name)} ${moduleOf(tensor.name)}`, tensor)
  const pairs: LoraPair[] = []
  for (const tensor of tensors) {
    const role = adapterRole(tensor.name)
    if (role !== 'lora_A' && role !== 'lora_B' && role !== 'lora_embedding_A' && role !== 'lora_embedding_B') continue
    const module = moduleOf(tensor.name)
    const partnerRole = role.endsWith('A') ? `${role.slice(0, -1)}B` : `${role.slice(0, -1)}A`
    const partner = byRole.get(`${partnerRole} ${module}`)
    if (!partner) {
      throw mismatch(`${tensor.name} of shape [${tensor.shape}] has no ${partnerRole} beside it`, {
        module,
        tensor: tensor.name,
        shape: tensor.shape,
        missing: partnerRole,
      })
    }
    if (role.endsWith('A')) pairs.push(pair(module, tensor, partner, role === 'lora_embedding_A'))
  }
  return pairs
}

function pair(module: string, a: TensorInfo, b: TensorInfo, embedding: boolean): LoraPair {
  const [rank = 0, ...input] = a.shape
  const [outFeatures = 0, rankOfB = 0, ...kernel] = b.shape
  const fits = input.length > 0 && rank > 0 && rank === rankOfB && kernel.every((size) => size === 1)
  if (!fits) {
    throw mismatch(
      `${a.name} of shape [${a.shape}] and ${b.name} of shape [${b.shape}] do not fit: expected (rank, in) and (out, rank)`,
      { module, a: a.name, b: b.name, shapeA: a.shape, shapeB: b.shape },
    )
  }
  const inFeatures = input.reduce((product, size) => product * size, 1)
  return { module, a: a.name, b: b.name, rank, inFeatures, outFeatures, embedding }
}

/**
 * The factor of B·A: loraAlpha / rank, or loraAlpha / sqrt(rank) for rank-stabilised LoRA (Kalajdzievski 2023), with
 * the patterns applied to `module` as `moduleOf` gives it. Throws ADAPTER_SHAPE_MISMATCH where the configuration
 * gives the module another rank than its tensors have: the file could not be loaded, so a scaling would be a guess;
 * ADAPTER_CONFIG_INVALID for patterns that take forever.
 */
export function loraScaling(config: AdapterConfig, module: string, rank: number): number {
  if (config.peftType !== 'LORA') throw new Error(`an adapter of type ${config.peftType} has no LoRA scaling`)
  const configured = findPattern(config.rankPattern, 'rank_pattern', module) ?? config.r
  if (configured !== rank) {
    throw mismatch(`module ${module}: its tensors have rank ${rank}, adapter_config.json says ${configured}`, {
      module,
      rank,
      configured,
    })
  }
  const loraAlpha = findPattern(config.alphaPattern, 'alpha_pattern', module) ?? config.loraAlpha
  return config.useRslora ? loraAlpha / Math.sqrt(rank) : loraAlpha / rank
}

/** Compiled once per configuration; the configuration itself stays plain data that can be sent to a worker. */
const compiled = new WeakMap<object, ModulePatterns>()

function findPattern(pattern: Readonly<Record<string, number>>, field: string, module: string): number | undefined {
  try {
    const patterns = compiled.get(pattern) ?? compilePatterns(pattern)
    compiled.set(pattern, patterns)
    return patterns.find(module)
  } catch (error) {
    if (!(error instanceof PatternError)) throw error
    throw invalid(`${field}: ${error.message}`, { field })
  }
}

function parseRoot(text: string): JsonObject {
  if (text.length > MAX_CONFIG_CHARACTERS) {
    throw invalid(`has ${text.length} characters; at most ${MAX_CONFIG_CHARACTERS} are read`, { length: text.length })
  }
  try {
    const root = parseStrictJson(text, CONFIG_LIMITS)
    if (root instanceof Map) return root
  } catch (error) {
    if (!(error instanceof StrictJsonError)) throw error
    throw invalid(`is no strict JSON: ${error.message}`, { at: error.at })
  }
  throw invalid('must be a JSON object', {})
}

/** Typed access to the fields of the file, each refusal naming the field and what it may be. */
class Fields {
  readonly raw: Readonly<Record<string, unknown>>
  private readonly root: JsonObject

  constructor(root: JsonObject) {
    this.root = root
    this.raw = toPlainJson(root) as Record<string, unknown>
  }

  /** Python writes an unset field as null; both mean the default. */
  private get(field: string): JsonValue | undefined {
    return this.root.get(field) ?? undefined
  }

  oneOf<T extends string>(field: string, allowed: readonly T[], fallback?: T): T {
    const value = this.get(field) ?? fallback
    const found = allowed.find((word) => word === value)
    if (found !== undefined) return found
    throw wrong(field, `one of ${allowed.join(', ')}`, value)
  }

  flag(field: string): boolean {
    const value = this.get(field) ?? false
    if (typeof value !== 'boolean') throw wrong(field, 'true or false', value)
    return value
  }

  text(field: string): string | null {
    const value = this.get(field) ?? null
    if (value !== null && typeof value !== 'string') throw wrong(field, 'a string or null', value)
    return value
  }

  rank(field: string, fallback: number): number {
    return asRank(field, this.get(field) ?? fallback)
  }

  number(field: string, fallback: number): number {
    return asNumber(field, this.get(field) ?? fallback)
  }

  pattern(field: string, kind: 'rank' | 'number'): Record<string, number> {
    const value = this.get(field) ?? new Map()
    if (!(value instanceof Map)) throw wrong(field, 'an object of module patterns', value)
    const read = kind === 'rank' ? asRank : asNumber
    const entries = Array.from(value, ([key, item]) => [key, read(`${field}[${JSON.stringify(key)}]`, item)] as const)
    const pattern = Object.fromEntries(entries)
    // The first match wins, and an object puts keys such as "0" first whatever their place in the file.
    if (Object.keys(pattern).some((key, i) => key !== entries[i]?.[0])) {
      throw invalid(`${field} mixes bare numbers with other keys; write \\d for the number to fix the order`, { field })
    }
    return pattern
  }

  names(field: string): string[] {
    const value = this.get(field) ?? []
    if (!Array.isArray(value)) throw wrong(field, 'a list of module names or null', value)
    return value.map((item) => {
      if (typeof item !== 'string') throw wrong(field, 'a list of module names or null', value)
      return item
    })
  }

  namesOrRegex(field: string): string[] | string | null {
    const value = this.get(field) ?? null
    return value === null || typeof value === 'string' ? value : this.names(field)
  }
}

function asRank(field: string, value: JsonValue): number {
  if (typeof value === 'number' && value >= 1 && value <= MAX_RANK) return value
  throw wrong(field, `an integer from 1 to ${MAX_RANK}`, value)
}

function asNumber(field: string, value: JsonValue): number {
  const number = toPlainJson(value)
  if (typeof number === 'number' && Number.isFinite(number)) return number
  throw wrong(field, 'a finite number', value)
}

function wrong(field: string, expected: string, value: JsonValue | undefined): TensorError {
  const shown = value === undefined ? 'missing' : JSON.stringify(toPlainJson(value)).slice(0, 80)
  return invalid(`${field} must be ${expected}; it is ${shown}`, { field, expected, value: shown })
}

function invalid(message: string, detail: Record<string, unknown>): TensorError {
  return new TensorError('ADAPTER_CONFIG_INVALID', `adapter_config.json: ${message}`, detail)
}

function mismatch(message: string, detail: Record<string, unknown>): TensorError {
  return new TensorError('ADAPTER_SHAPE_MISMATCH', message, detail)
}
