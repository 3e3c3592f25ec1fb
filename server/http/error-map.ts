/** Every error code of Tern with its HTTP status: the one table. docs/errors.md is generated from it. */
import type { CompressErrorCode } from '../../compress/errors.ts'
import type { MergeErrorCode } from '../../merge/errors.ts'
import type { RegistryErrorCode } from '../../registry/errors.ts'
import type { TensorErrorCode } from '../../tensors/errors.ts'
import type { ServerErrorCode } from '../service/errors.ts'

export type ErrorCode = TensorErrorCode | CompressErrorCode | MergeErrorCode | RegistryErrorCode | ServerErrorCode

export interface ErrorRule {
  readonly status: number
  /** When it is raised. */
  readonly when: string
  /** What the caller can do. */
  readonly remedy: string
}

export const errorMap = {
  SAFETENSORS_INVALID: {
    status: 422,
    when: 'A safetensors file breaks a rule of its format: header length, JSON, names, offsets, holes, shapes.',
    remedy: 'Write the file again; the message names the tensor and the numbers.',
  },
  SAFETENSORS_HEADER_TOO_LARGE: {
    status: 413,
    when: 'The header of a safetensors file is longer than the format allows.',
    remedy: 'Check that the file is safetensors at all.',
  },
  DTYPE_UNSUPPORTED: {
    status: 422,
    when: 'A tensor has a dtype that is unknown, or that the operation cannot work on.',
    remedy: 'Convert the tensor to F32, F16 or BF16.',
  },
  WEIGHTS_NOT_FOUND: {
    status: 422,
    when: 'A folder or upload holds no safetensors weights, or several and none of the known names.',
    remedy: 'Name the file model.safetensors or adapter_model.safetensors.',
  },
  TENSOR_NOT_FOUND: {
    status: 404,
    when: 'A tensor was asked for that the file does not hold.',
    remedy: 'The revision lists the names of its tensors in the report.',
  },
  ADAPTER_CONFIG_INVALID: {
    status: 422,
    when: 'adapter_config.json is no JSON, lacks a field or has an unusable value.',
    remedy: 'Upload the file that PEFT wrote beside the weights.',
  },
  ADAPTER_SHAPE_MISMATCH: {
    status: 422,
    when: 'lora_A and lora_B of a module do not fit together, or one of the two is missing.',
    remedy: 'The message names both tensors and shapes; export the adapter again.',
  },
  SOURCE_TRUNCATED: {
    status: 422,
    when: 'A file ended before the bytes that its header promises.',
    remedy: 'Upload the whole file.',
  },
  PARAMETER_INVALID: {
    status: 400,
    when: 'density, alpha, scope, scale, transform, gain, preset or another parameter has no allowed value.',
    remedy: 'The message names the parameter and what is allowed.',
  },
  NOT_FINITE: {
    status: 422,
    when: 'A weight is NaN or infinite.',
    remedy: 'The message names tensor and index; a training that diverged cannot be compressed.',
  },
  FACTOR_LOST: {
    status: 422,
    when: 'Under strict=1: compression would lose all of a lora_A or lora_B, or too much of their product.',
    remedy: 'Raise the density, use transform=svd, or upload without strict.',
  },
  BASE_REQUIRED: {
    status: 422,
    when: 'A full fine-tune came without the base it was made from.',
    remedy: 'Publish the base first and name it by base=ns/name.',
  },
  BASE_MISMATCH: {
    status: 422,
    when: 'Names, shapes or digest of the base differ from what the expert needs.',
    remedy: 'Name the base, and its revision, that the expert was trained from.',
  },
  CONTAINER_INVALID: {
    status: 422,
    when: 'A .tern file breaks a rule of spec/FORMAT.md.',
    remedy: 'Fetch or write the file again.',
  },
  CONTAINER_VERSION_UNSUPPORTED: {
    status: 422,
    when: 'A .tern file was written by a later version of the format.',
    remedy: 'Upgrade Tern.',
  },
  CODEC_UNKNOWN: {
    status: 422,
    when: 'A .tern file, or a request, names a codec that this version does not have.',
    remedy: 'Upgrade Tern, or choose another codec.',
  },
  CHECKSUM_MISMATCH: {
    status: 422,
    when: 'Bytes of a .tern file do not match their checksum.',
    remedy: 'Fetch the file again.',
  },
  RECIPE_INVALID: {
    status: 422,
    when: 'A merge recipe lacks a key, has an unknown one, or a value that is not allowed.',
    remedy: 'The message names the key, and the line of a YAML recipe.',
  },
  MERGE_METHOD_UNKNOWN: {
    status: 422,
    when: 'merge_method names a method that Tern does not have.',
    remedy: 'The message lists the methods.',
  },
  MERGE_INPUT_NOT_FOUND: {
    status: 422,
    when: 'A model or expert of a recipe does not exist here.',
    remedy: 'Publish it first, or correct its name.',
  },
  SHAPE_MISMATCH: {
    status: 422,
    when: 'A tensor has different shapes in the inputs of a merge.',
    remedy: 'Merge models of one architecture; the message names the tensor and the shapes.',
  },
  BASE_DIFFERS: {
    status: 422,
    when: 'An expert of a recipe was made from another base than the recipe names.',
    remedy: 'Use the base_model that the expert names.',
  },
  MERGE_UNSUPPORTED: {
    status: 422,
    when: 'An input of a recipe has a feature that the method cannot merge, and would get wrong.',
    remedy: 'The message names the feature and the input.',
  },
  NAME_INVALID: {
    status: 400,
    when: 'A repo id, branch, tag or revision is not well formed.',
    remedy: 'Repo ids look like namespace/name; the message says what is allowed.',
  },
  PATH_INVALID: {
    status: 400,
    when: 'A file path is absolute, climbs out of the repo or holds characters that are not allowed.',
    remedy: 'Send relative paths with forward slashes.',
  },
  REPO_NOT_FOUND: { status: 404, when: 'No repo has this id.', remedy: 'GET /v1/experts and /v1/bases list them.' },
  REVISION_NOT_FOUND: {
    status: 404,
    when: 'The repo has no such branch, tag or revision.',
    remedy: 'GET the repo: it lists them.',
  },
  ENTRY_NOT_FOUND: {
    status: 404,
    when: 'The revision has no file of this path.',
    remedy: 'GET the revision: it lists its files.',
  },
  BLOB_NOT_FOUND: {
    status: 404,
    when: 'The store has no blob of this digest.',
    remedy: 'Run "tern verify": if a revision needs the blob, the store has lost it.',
  },
  DIGEST_MISMATCH: {
    status: 400,
    when: 'Bytes do not have the digest they were announced with.',
    remedy: 'Send the bytes again.',
  },
  REF_CONFLICT: {
    status: 409,
    when: 'The branch or tag moved while the request ran.',
    remedy: 'Read the repo again and repeat the request.',
  },
  REPO_CONFLICT: {
    status: 409,
    when: 'The name is taken by a repo of the other type, or by another spelling of it.',
    remedy: 'Choose another name.',
  },
  LIMIT_EXCEEDED: {
    status: 422,
    when: 'A revision has too many files, or a repo too many refs.',
    remedy: 'The message names the limit.',
  },
  CURSOR_INVALID: {
    status: 400,
    when: 'The cursor of a list is not one that Tern gave.',
    remedy: 'Begin again without a cursor.',
  },
  URL_INVALID: {
    status: 500,
    when: 'TERN_STORE_URL or TERN_INDEX_URL has a wrong value. The server does not start.',
    remedy: 'The message says what is expected.',
  },
  INDEX_UNAVAILABLE: {
    status: 503,
    when: 'The index cannot be opened, is locked, or was made by a later version.',
    remedy: 'Try again; "tern reindex" rebuilds the index from the store.',
  },
  RANGE_INVALID: {
    status: 416,
    when: 'A Range header asks for bytes behind the end of the file.',
    remedy: 'Content-Range of the answer tells the size.',
  },
  MANIFEST_INVALID: {
    status: 500,
    when: 'A manifest in the store is not what Tern writes.',
    remedy: 'Run "tern verify".',
  },
  STORE_UNAVAILABLE: {
    status: 503,
    when: 'The object store does not answer, or refuses.',
    remedy: 'Try again; the log of the server has the cause.',
  },
  CONFIG_INVALID: {
    status: 500,
    when: 'An environment variable of the server has a wrong value. The server does not start.',
    remedy: 'The message names the variable and what is allowed.',
  },
  REQUEST_INVALID: {
    status: 400,
    when: 'A path, query or body field is missing, unknown or malformed.',
    remedy: 'The message names the field; /docs lists the calls.',
  },
  MEDIA_TYPE_UNSUPPORTED: {
    status: 415,
    when: 'The body is of a type that the call does not take.',
    remedy: 'Send multipart/form-data to upload, application/json or application/yaml to merge.',
  },
  UNAUTHENTICATED: {
    status: 401,
    when: 'The call needs a bearer token and came with none, or with a wrong one.',
    remedy: 'Send "Authorization: Bearer TOKEN".',
  },
  FORBIDDEN: {
    status: 403,
    when: 'A server without a token was called by another name than its loopback address, or by a page of another site.',
    remedy: 'Call http://127.0.0.1, or set TERN_ADMIN_TOKEN.',
  },
  ROUTE_NOT_FOUND: { status: 404, when: 'No call has this path.', remedy: '/docs lists the calls.' },
  METHOD_NOT_ALLOWED: {
    status: 405,
    when: 'The path exists, but not with this method.',
    remedy: 'The Allow header lists the methods.',
  },
  TOO_LARGE: {
    status: 413,
    when: 'A body, a part or the number of parts exceeds its limit.',
    remedy: 'The message names the limit; TERN_MAX_UPLOAD_BYTES sets that of uploads.',
  },
  SPOOL_FULL: {
    status: 507,
    when: 'The disk that holds uploads in flight is full.',
    remedy: 'Try again later; whoever operates the server finds the folder under TERN_SPOOL_DIR.',
  },
  UPLOAD_INCOMPLETE: {
    status: 400,
    when: 'The body ended before its last boundary.',
    remedy: 'Send the upload again.',
  },
  PATH_DUPLICATE: {
    status: 400,
    when: 'Two parts of an upload have the same path.',
    remedy: 'Send every file once.',
  },
  FILE_MISSING: {
    status: 422,
    when: 'An upload lacks a file it cannot do without: the weights, or adapter_config.json beside an adapter.',
    remedy: 'The message names the file.',
  },
  FILE_REFUSED: {
    status: 422,
    when: 'An upload holds a file that Tern does not store: pickled weights run code when they are loaded.',
    remedy: 'Convert the weights to safetensors.',
  },
  BASE_UNKNOWN: {
    status: 422,
    when: 'An upload names a base that is not here.',
    remedy: 'Publish the base first, or correct the name.',
  },
  BASE_GONE: {
    status: 409,
    when: 'The base that an expert was made from was deleted or replaced, so that its weights cannot be reconstructed.',
    remedy: 'Publish the base again; the message names the revision and digest.',
  },
  IN_USE: {
    status: 409,
    when: 'A base cannot be deleted while experts are made from it.',
    remedy: 'Delete the experts first; the message names them.',
  },
  RESULT_GONE: {
    status: 410,
    when: 'The files of a job were removed to make room for later ones.',
    remedy: 'Submit the recipe again.',
  },
  JOB_NOT_FOUND: {
    status: 404,
    when: 'No job has this id.',
    remedy: 'Jobs are forgotten after a while: submit it again.',
  },
  JOB_NOT_READY: {
    status: 409,
    when: 'The result of a job was asked for before it succeeded.',
    remedy: 'Follow /v1/jobs/{id}/events until it has.',
  },
  JOB_FINISHED: { status: 409, when: 'A job that has ended cannot be cancelled.', remedy: 'Nothing is left to do.' },
  BUSY: { status: 503, when: 'Too many jobs wait already.', remedy: 'Try again after Retry-After seconds.' },
  STOPPING: { status: 503, when: 'The server is shutting down.', remedy: 'Try again after Retry-After seconds.' },
  CANCELLED: {
    status: 499,
    when: 'The client hung up or cancelled the work.',
    remedy: 'Nothing was stored; send the request again.',
  },
  STORED_DAMAGED: {
    status: 500,
    when: 'What lies in the store fails its own checks.',
    remedy: 'Run "tern verify"; the log of the server names the digest.',
  },
  INTERNAL: {
    status: 500,
    when: 'A fault of Tern.',
    remedy: 'Report it with the X-Request-Id of the answer.',
  },
} as const satisfies Record<ErrorCode, ErrorRule>

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorMap, code)
}

/** docs/errors.md, whole. */
export function errorsPage(): string {
  const rows = Object.entries<ErrorRule>(errorMap).map(
    ([code, r]) => `| \`${code}\` | ${r.status} | ${r.when} | ${r.remedy} |`,
  )
  return `${ERRORS_INTRO}\n| code | status | when | what to do |\n|---|---|---|---|\n${rows.join('\n')}\n`
}

const ERRORS_INTRO = `<!-- Generated from server/http/error-map.ts by "npm run openapi". Do not edit. -->
# Errors

Every failure is answered by \`{ "error": { "code", "message", "detail" } }\`. \`code\` is one of this table and stable;
\`message\` is for people and names the tensor, field or file with the numbers; \`detail\` has the same names and numbers
for programs. \`X-Request-Id\` repeats in the server's log.
`
