/** PEFT features whose adapters are not just scaling * B.A plus saved tensors: refused by name, never ignored. */
import { type AdapterConfig, adapterRole } from '../tensors/adapter-config.ts'
import { isFloating } from '../tensors/dtype.ts'
import { MergeError } from './errors.ts'
import type { MergeInput } from './input.ts'

/** Starting points that also change the base's weights, so that the adapter alone does not say what it does. */
const BASE_CHANGING_INIT = /^(pissa|olora|corda|lora_ga|loftq)/

/** Fields of adapter_config.json that, when set, change what the factors mean. */
const FIELDS: Readonly<Record<string, string>> = {
  target_parameters: 'LoRA on bare parameters (target_parameters)',
  trainable_token_indices: 'trainable tokens (trainable_token_indices)',
  layer_replication: 'layer replication',
  alora_invocation_tokens: 'activated LoRA (alora_invocation_tokens)',
  use_qalora: 'QA-LoRA',
  use_bdlora: 'block-diagonal LoRA (use_bdlora)',
  arrow_config: 'Arrow routing',
  kasa_config: 'KaSA',
  monteclora_config: 'MonteCLoRA',
  velora_config: 'VeLoRA',
}

/** The adapter's configuration, or MERGE_UNSUPPORTED naming the feature and, where it is in the file, the tensor. */
export function plainLoraConfig(input: MergeInput): AdapterConfig {
  const config = input.adapterConfig
  if (!config) throw new Error(`adapter ${input.ref} was opened without its configuration`)
  const feature = unsupportedFeature(config)
  if (feature) throw unsupported(input, feature)
  for (const { name, dtype } of input.source.tensors) {
    const role = adapterRole(name)
    if (role === 'lora_magnitude_vector') throw unsupported(input, 'DoRA', name)
    if (role === 'lora_bias') throw unsupported(input, 'a bias on lora_B (lora_bias)', name)
    if (role === 'ia3') throw unsupported(input, '(IA)3', name)
    if (role !== 'saved' && !isFloating(dtype))
      throw unsupported(input, `${dtype} factors, whose scales stand elsewhere`, name)
    if (role === 'other') throw unsupported(input, 'an adapter method other than LoRA', name)
  }
  return config
}

function unsupportedFeature(config: AdapterConfig): string | undefined {
  if (config.peftType !== 'LORA') return '(IA)3'
  if (config.useDora) return 'DoRA (use_dora)'
  if (config.loraBias) return 'a bias on lora_B (lora_bias)'
  const init = config.raw.init_lora_weights
  if (typeof init === 'string' && BASE_CHANGING_INIT.test(init)) {
    return `an adapter initialised with '${init}' that was not converted to plain LoRA`
  }
  const field = Object.keys(FIELDS).find((name) => isSet(config.raw[name]))
  return field && FIELDS[field]
}

function isSet(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return false
  if (Array.isArray(value)) return value.length > 0
  return typeof value !== 'object' || Object.keys(value).length > 0
}

function unsupported(input: MergeInput, feature: string, tensor?: string): MergeError {
  const where = tensor ? ` (tensor ${tensor})` : ''
  return new MergeError(
    'MERGE_UNSUPPORTED',
    `${input.ref} uses ${feature}${where}, which cannot be merged exactly: merge it into its base with PEFT first`,
    { input: input.ref, feature, ...(tensor ? { tensor } : {}) },
  )
}
