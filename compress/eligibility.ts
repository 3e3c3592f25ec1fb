/**
 * Which tensors of an expert are made ternary. The others are small or brittle (heads, norms, biases, embeddings) and
 * go through the lossless codec. `include` overrules everything but the dtype; `exclude` overrules the rules below.
 */
import { adapterRole } from '../tensors/adapter-config.ts'
import { isFloating } from '../tensors/dtype.ts'
import { elementCount, type TensorInfo } from '../tensors/tensor.ts'
import { matchesAny } from './name-patterns.ts'
import type { CompressOptions, ExpertKind } from './options.ts'
import { MAX_ENTRIES } from './quantized-tensor.ts'

/** Modules that map features to labels or tokens, as transformers names them, whatever the architecture. */
const HEADS = new Set([
  'classifier',
  'classification_head',
  'cls',
  'embed_out',
  'lm_head',
  'lm_head_ms',
  'logits_proj',
  'output_layer',
  'pre_classifier',
  'qa_outputs',
  'score',
  'v_head',
])

/** Embedding tables whose names do not contain `embed`. */
const EMBEDDINGS = new Set(['wte', 'wpe', 'shared', 'relative_attention_bias'])

export function isEligible(info: TensorInfo, kind: ExpertKind, options: CompressOptions): boolean {
  const entries = elementCount(info.shape)
  if (!isFloating(info.dtype) || entries === 0 || entries > MAX_ENTRIES) return false
  if (matchesAny(options.include, info.name)) return true
  if (matchesAny(options.exclude, info.name)) return false
  if (kind === 'full') return isFullModelMatrix(info)
  const role = adapterRole(info.name)
  return kind === 'ia3' ? role === 'ia3' : LORA_FACTORS.has(role)
}

const LORA_FACTORS: ReadonlySet<string> = new Set(['lora_A', 'lora_B', 'lora_embedding_A', 'lora_embedding_B'])

/** A weight matrix (or convolution) of the body of a full model. */
function isFullModelMatrix({ name, shape }: TensorInfo): boolean {
  if (shape.length < 2) return false
  return !name.split('.').some((segment) => isHead(segment) || isEmbedding(segment) || isNorm(segment))
}

function isHead(segment: string): boolean {
  return HEADS.has(segment)
}

function isEmbedding(segment: string): boolean {
  return EMBEDDINGS.has(segment) || segment.toLowerCase().includes('embed')
}

/** LayerNorm, layer_norm, input_layernorm, ln_1, ln_f, q_norm, RMSNorm, bn1, norm2 ... */
function isNorm(segment: string): boolean {
  return /norm|^ln_|^ln\d*$|^bn\d*$/i.test(segment)
}
