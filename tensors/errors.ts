import { CodedError } from '../errors.ts'

export type TensorErrorCode =
  | 'SAFETENSORS_INVALID' // breaks a rule of the format; the message names the tensor and the numbers
  | 'SAFETENSORS_HEADER_TOO_LARGE'
  | 'DTYPE_UNSUPPORTED'
  | 'TENSOR_NOT_FOUND'
  | 'ADAPTER_CONFIG_INVALID'
  | 'ADAPTER_SHAPE_MISMATCH' // lora_A and lora_B of one module do not fit together
  | 'WEIGHTS_NOT_FOUND' // a path without weights, or with several sets of them
  | 'SOURCE_TRUNCATED' // a byte source ended before the bytes that were promised

export class TensorError extends CodedError<TensorErrorCode> {}
