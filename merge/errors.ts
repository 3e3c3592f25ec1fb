import { CodedError } from '../errors.ts'

export type MergeErrorCode =
  | 'RECIPE_INVALID' // names the key (and the YAML line where there is one)
  | 'MERGE_METHOD_UNKNOWN'
  | 'MERGE_INPUT_NOT_FOUND' // a model or expert of the recipe does not exist
  | 'SHAPE_MISMATCH'
  | 'BASE_DIFFERS' // an expert was made from another base than the recipe's
  | 'MERGE_UNSUPPORTED' // an input uses a feature (DoRA, (IA)3, F8 ...) that cannot be merged exactly: names it

export class MergeError extends CodedError<MergeErrorCode> {}
