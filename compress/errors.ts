import { CodedError } from '../errors.ts'

export type CompressErrorCode =
  | 'PARAMETER_INVALID' // density, alpha, scope, scale, transform, preset: names the parameter and what is allowed
  | 'NOT_FINITE' // NaN or Inf in a weight: names tensor and index
  | 'FACTOR_LOST' // strict mode: all of a lora_A or lora_B would become zero, or the product's error passes the bound
  | 'BASE_REQUIRED'
  | 'BASE_MISMATCH' // names, shapes or content digest of the base differ from what the expert was made from
  | 'CONTAINER_INVALID'
  | 'CONTAINER_VERSION_UNSUPPORTED'
  | 'CODEC_UNKNOWN'
  | 'CHECKSUM_MISMATCH'

export class CompressError extends CodedError<CompressErrorCode> {}
