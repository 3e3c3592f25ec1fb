/**
 * Blobs in an S3 bucket (AWS or any server that honours conditional writes). Two ways to talk to it: one client with
 * the SDK's default checksums for uploads, one without for downloads and for signing (a signed upload checksum would
 * be that of an empty body, and a proxied download is checked by its digest anyway).
 */
import { addAbortSignal, pipeline, Readable, Transform } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type MultipartUpload,
  PutObjectCommand,
  paginateListObjectsV2,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import type { BlobBody, BlobStat, BlobStore, ByteRange, FileBody, WriteCondition, WriteResult } from './blob-store.ts'
import { bodyBytes, bodySize, checkedFile } from './blob-store-fs-body.ts'
import { digestHex, sha256 } from './digest.ts'
import { RegistryError } from './errors.ts'
import { checkKey } from './keys.ts'
import { blobNotFound, checkRange, rangeInvalid, versionConflict } from './store-errors.ts'

/** Up to here one PUT with the body in memory, above it a multipart upload. */
const SINGLE_PUT_BYTES = 8 * 1024 * 1024
const PART_BYTES = 8 * 1024 * 1024
/** S3 allows 10,000 parts. */
const MAX_PARTS = 9_000
const PARTS_AT_ONCE = 4
/** Tries at a conditional write that S3 answers with 409: two writers met, neither has won. */
const CONFLICT_TRIES = 10
const CONFLICT_DELAY_MS = 50

export interface S3StoreOptions {
  readonly bucket: string
  /** Stands before every key; '' or ending in '/'. */
  readonly prefix?: string
  readonly region?: string
  /** Other servers than AWS, e.g. `http://s3:8333`; path style follows unless said otherwise. */
  readonly endpoint?: string
  /** Where clients reach the same bucket, when that is another host than `endpoint`; signed URLs point there. */
  readonly publicEndpoint?: string
  readonly pathStyle?: boolean
  /** false: signedUrl() answers undefined and everything is streamed through the server. */
  readonly signedUrls?: boolean
}

export class S3BlobStore implements BlobStore {
  readonly #bucket: string
  readonly #prefix: string
  readonly #uploads: S3Client
  readonly #downloads: S3Client
  readonly #signer: S3Client | undefined

  constructor(options: S3StoreOptions) {
    this.#bucket = options.bucket
    this.#prefix = options.prefix ?? ''
    const config = clientConfig(options, options.endpoint)
    const plain = { requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED' } as const
    this.#uploads = new S3Client(config)
    this.#downloads = new S3Client({ ...config, ...plain })
    const signing = clientConfig(options, options.publicEndpoint ?? options.endpoint)
    this.#signer = options.signedUrls === false ? undefined : new S3Client({ ...signing, ...plain })
  }

  async stat(key: string): Promise<BlobStat | undefined> {
    const target = this.#target(key)
    try {
      const head = await this.#downloads.send(new HeadObjectCommand(target))
      return {
        key,
        size: head.ContentLength ?? 0,
        etag: head.ETag ?? '',
        modified: head.LastModified ?? new Date(0),
      }
    } catch (error) {
      if (statusOf(error) === 404) return undefined
      throw unavailable('HEAD', key, error)
    }
  }

  async read(key: string, range?: ByteRange, signal?: AbortSignal): Promise<Readable> {
    const target = this.#target(key)
    if (range !== undefined) checkRange(key, range, Number.MAX_SAFE_INTEGER)
    const Range = range === undefined ? undefined : `bytes=${range.start}-${range.end - 1}`
    try {
      const command = new GetObjectCommand({ ...target, ...(Range === undefined ? {} : { Range }) })
      const output = await this.#downloads.send(command, signal === undefined ? {} : { abortSignal: signal })
      return wholeBody(key, output, range, signal)
    } catch (error) {
      if (error instanceof RegistryError) throw error
      signal?.throwIfAborted()
      if (range !== undefined && statusOf(error) === 416) throw rangeInvalid(key, range)
      if (nameOf(error) === 'NoSuchKey' || nameOf(error) === 'NotFound') throw blobNotFound(key)
      throw unavailable('GET', key, error)
    }
  }

  async write(key: string, body: BlobBody, condition?: WriteCondition): Promise<WriteResult> {
    for (let tries = 1; tries <= CONFLICT_TRIES; tries += 1) {
      const result = await this.#tryWrite(key, body, condition, tries)
      if (result !== undefined) return result
      await delay(CONFLICT_DELAY_MS * tries * Math.random())
    }
    const message = `the object store stayed undecided about who may write ${key}`
    throw new RegistryError('STORE_UNAVAILABLE', message, { key, tries: CONFLICT_TRIES })
  }

  /** undefined: neither written nor refused, so to be tried again. */
  async #tryWrite(
    key: string,
    body: BlobBody,
    condition: WriteCondition | undefined,
    tries: number,
  ): Promise<WriteResult | undefined> {
    const onlyNew = condition !== undefined && 'ifAbsent' in condition
    const large = bodySize(body) > SINGLE_PUT_BYTES
    // Sending gigabytes to be told that they are there already would be a waste.
    const present = onlyNew && (large || tries > 1) ? await this.stat(key) : undefined
    if (present !== undefined) return { etag: present.etag, written: false }
    const params = { ...this.#target(key), ...conditionHeaders(condition) }
    try {
      const etag = large ? await this.#putParts(key, params, body) : await this.#putOnce(params, body)
      return { etag, written: true }
    } catch (error) {
      const refusal = refusalOf(error, condition)
      if (refusal === 'failed') throw unavailable('PUT', key, error)
      if (refusal === 'lost' && !onlyNew) throw versionConflict(key)
      return undefined
    }
  }

  async delete(key: string): Promise<void> {
    const target = this.#target(key)
    try {
      await this.#downloads.send(new DeleteObjectCommand(target))
    } catch (error) {
      if (statusOf(error) !== 404) throw unavailable('DELETE', key, error)
    }
  }

  async *list(prefix: string): AsyncIterable<BlobStat> {
    const query = { Bucket: this.#bucket, Prefix: this.#prefix + prefix }
    try {
      for await (const page of paginateListObjectsV2({ client: this.#downloads }, query)) {
        for (const { Key, Size, ETag, LastModified } of page.Contents ?? []) {
          if (Key === undefined) continue
          const key = Key.slice(this.#prefix.length)
          yield { key, size: Size ?? 0, etag: ETag ?? '', modified: LastModified ?? new Date(0) }
        }
      }
    } catch (error) {
      throw unavailable('LIST', prefix, error)
    }
  }

  async signedUrl(key: string, ttlSeconds: number, fileName?: string): Promise<string | undefined> {
    if (this.#signer === undefined) return undefined
    const disposition = fileName === undefined ? {} : { ResponseContentDisposition: attachment(fileName) }
    const command = new GetObjectCommand({ ...this.#target(key), ...disposition })
    return getSignedUrl(this.#signer, command, { expiresIn: ttlSeconds })
  }

  async unfinished(before: Date, remove: boolean): Promise<readonly string[]> {
    const found: string[] = []
    try {
      for await (const { Key, UploadId, Initiated } of this.#openUploads()) {
        if (Key === undefined || UploadId === undefined || (Initiated ?? before) >= before) continue
        found.push(`${Key.slice(this.#prefix.length)} (upload ${UploadId})`)
        const target = { Bucket: this.#bucket, Key, UploadId }
        if (remove) await this.#downloads.send(new AbortMultipartUploadCommand(target))
      }
    } catch (error) {
      throw unavailable('LIST UPLOADS', this.#prefix, error)
    }
    return found.sort()
  }

  async *#openUploads(): AsyncGenerator<MultipartUpload> {
    let marker: { KeyMarker?: string; UploadIdMarker?: string } = {}
    for (;;) {
      const query = { Bucket: this.#bucket, Prefix: this.#prefix, ...marker }
      const page = await this.#downloads.send(new ListMultipartUploadsCommand(query))
      yield* page.Uploads ?? []
      if (page.IsTruncated !== true || page.NextKeyMarker === undefined) return
      const { NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page
      marker = UploadIdMarker === undefined ? { KeyMarker } : { KeyMarker, UploadIdMarker }
    }
  }

  /** The server checks the SHA-256 that travels with the body, so a 200 means that all of it arrived. */
  async #putOnce(params: WriteParams, body: BlobBody): Promise<string> {
    const bytes = await bodyBytes(body)
    const ChecksumSHA256 = Buffer.from(digestHex(sha256(bytes)), 'hex').toString('base64')
    const command = new PutObjectCommand({ ...params, Body: bytes, ContentLength: bytes.byteLength, ChecksumSHA256 })
    return (await this.#uploads.send(command)).ETag ?? ''
  }

  /** Parts carry a CRC each; the file's own size and digest are checked before the upload may complete. */
  async #putParts(key: string, params: WriteParams, body: BlobBody): Promise<string> {
    const size = bodySize(body)
    const stream = body instanceof Uint8Array ? undefined : fileStream(body)
    try {
      const upload = new Upload({
        client: this.#uploads,
        params: { ...params, Body: stream ?? (body as Uint8Array) },
        partSize: Math.max(PART_BYTES, Math.ceil(size / MAX_PARTS)),
        queueSize: PARTS_AT_ONCE,
      })
      await upload.done()
    } finally {
      // Closes the file when the upload gave up half way.
      stream?.destroy()
    }
    const stored = await this.stat(key)
    if (stored?.size === size) return stored.etag
    throw new RegistryError(
      'STORE_UNAVAILABLE',
      `${key}: sent ${size} bytes, the store holds ${stored?.size ?? 'none'}`,
      {
        key,
        size,
      },
    )
  }

  #target(key: string): { Bucket: string; Key: string } {
    checkKey(key)
    return { Bucket: this.#bucket, Key: this.#prefix + key }
  }
}

type WriteParams = { Bucket: string; Key: string; IfNoneMatch?: string; IfMatch?: string }

function clientConfig(options: S3StoreOptions, endpoint: string | undefined): S3ClientConfig {
  return {
    region: options.region ?? process.env['AWS_REGION'] ?? 'us-east-1',
    forcePathStyle: options.pathStyle ?? options.endpoint !== undefined,
    maxAttempts: 4,
    requestHandler: { connectionTimeout: 5_000, socketTimeout: 60_000 },
    ...(endpoint === undefined ? {} : { endpoint }),
  }
}

function conditionHeaders(condition: WriteCondition | undefined): { IfNoneMatch?: string; IfMatch?: string } {
  if (condition === undefined) return {}
  return 'ifAbsent' in condition ? { IfNoneMatch: '*' } : { IfMatch: condition.ifMatch }
}

/** `lost`: the condition did not hold. `undecided`: two conditional writes met and neither won, so try again. */
function refusalOf(error: unknown, condition: WriteCondition | undefined): 'lost' | 'undecided' | 'failed' {
  if (condition === undefined) return 'failed'
  if (statusOf(error) === 412 || nameOf(error) === 'NoSuchKey') return 'lost'
  return statusOf(error) === 409 ? 'undecided' : 'failed'
}

function fileStream(body: FileBody): Readable {
  return Readable.from(checkedFile(body), { objectMode: false })
}

/** The body, made to fail when the connection ends before all of it is here. */
function wholeBody(
  key: string,
  output: GetObjectCommandOutput,
  range: ByteRange | undefined,
  signal: AbortSignal | undefined,
): Readable {
  const body = output.Body as Readable
  const announced = output.ContentLength ?? 0
  if (range !== undefined && announced !== range.end - range.start) {
    // S3 cuts a range that reaches past the end; here that is an error, as in every store.
    body.destroy()
    throw rangeInvalid(key, range, Number(output.ContentRange?.split('/')[1] ?? Number.NaN))
  }
  let missing = announced
  const counter = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      missing -= chunk.byteLength
      done(null, chunk)
    },
    flush(done) {
      done(missing === 0 ? null : shortBody(key, announced, announced - missing))
    },
  })
  body.once('error', (cause: unknown) => {
    counter.destroy(signal?.aborted ? (signal.reason as Error) : unavailable('GET', key, cause))
  })
  pipeline(body, counter, () => undefined)
  return signal === undefined ? counter : addAbortSignal(signal, counter)
}

function shortBody(key: string, announced: number, received: number): RegistryError {
  const message = `${key}: the store sent ${received} of ${announced} bytes`
  return new RegistryError('STORE_UNAVAILABLE', message, { key, announced, received })
}

/** RFC 6266: an ASCII name for old clients, the real one encoded. */
function attachment(fileName: string): string {
  const ascii = fileName.replace(/[^\x20-\x7e]|["\\]/g, '_')
  const encoded = encodeURIComponent(fileName).replace(
    /['()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return `attachment; filename="${ascii}"; filename*=UTF-8''${encoded}`
}

function unavailable(action: string, key: string, cause: unknown): RegistryError {
  if (cause instanceof RegistryError) return cause
  const detail = { key, status: statusOf(cause), name: nameOf(cause) }
  const message = `the object store failed at ${action} ${key}: ${detail.name} ${detail.status ?? '(no answer)'}`
  return new RegistryError('STORE_UNAVAILABLE', message, detail, { cause })
}

function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
}

function nameOf(error: unknown): string {
  return (error as Error).name
}
