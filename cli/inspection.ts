/** What files on this machine hold, as JSON in the API's words and as text. */
import { basename } from 'node:path'
import { type Container, openContainer } from '../compress/container-reader.ts'
import { openFileSource } from '../tensors/node/file-source.ts'
import { elementCount, type TensorInfo } from '../tensors/tensor.ts'
import { openExpertFolder } from './expert-folder.ts'
import { describeOptions, formatBytes, formatFields, formatShare, formatTable } from './format.ts'

export interface Inspection {
  readonly json: Record<string, unknown>
  readonly text: string
}

/** Reads header and table; with `tensors` also every tensor's trits, for its density. */
export async function inspectContainer(path: string, tensors: boolean, signal: AbortSignal): Promise<Inspection> {
  const file = await openFileSource(path)
  try {
    const container = await openContainer(file)
    const { header, bytes } = container
    const ternary = container.tensors.filter((tensor) => tensor.storage === 'trits')
    const parameters = countParameters(container.tensors)
    const ternaryParameters = countParameters(ternary)
    const rows = tensors ? await containerRows(container, signal) : undefined
    return {
      json: {
        path,
        format: 'tern',
        bytes: file.size,
        kind: header.kind,
        origin: header.origin,
        codec: container.codec,
        base: header.base,
        options: header.options,
        metadata: header.metadata,
        adapter_config: header.adapterConfig ?? null,
        sections: bytes,
        tensor_count: container.tensors.length,
        ternary_tensors: ternary.length,
        parameters,
        ternary_parameters: ternaryParameters,
        bits_per_param: (file.size * 8) / parameters,
        ...(rows && { tensors: rows }),
      },
      text: joined(containerFields(basename(path), file.size, container, parameters, ternaryParameters), rows),
    }
  } finally {
    await file.close()
  }
}

function containerFields(
  name: string,
  size: number,
  { header, bytes, codec, tensors }: Container,
  parameters: number,
  ternaryParameters: number,
): string {
  const base = header.base
  return formatFields({
    file: `${name}, Tern container`,
    kind: `${header.kind}, differences to ${header.origin}`,
    base: base ? [base.repo, base.revision && `@${base.revision}`, base.digest].filter(Boolean).join(' ') : null,
    adapter: header.adapterConfig ? describeAdapter(header.adapterConfig) : null,
    options: describeOptions(header.options),
    codec,
    tensors: `${tensors.length}, ${tensors.filter((tensor) => tensor.storage === 'trits').length} of them ternary`,
    parameters: `${parameters}, ${ternaryParameters} of them ternary`,
    size: formatBytes(size),
    sections: `table ${bytes.table}, scales ${bytes.scales}, trits ${bytes.trits}, lossless ${bytes.lossless} bytes`,
    'bits/param': ((size * 8) / parameters).toFixed(3),
  })
}

function describeAdapter(config: Readonly<Record<string, unknown>>): string {
  const { peft_type: type, r, lora_alpha: alpha, base_model_name_or_path: base } = config
  return [type, r !== undefined && `r=${r}`, alpha !== undefined && `lora_alpha=${alpha}`, base && `for ${base}`]
    .filter(Boolean)
    .join(' ')
}

interface TensorRow {
  readonly name: string
  readonly dtype: string
  readonly shape: readonly number[]
  readonly storage: string
  readonly nonzeros?: number
  readonly density?: number
}

async function containerRows(container: Container, signal: AbortSignal): Promise<TensorRow[]> {
  const rows: TensorRow[] = []
  for (const { name, dtype, shape, storage } of container.tensors) {
    const row = { name, dtype, shape, storage }
    if (storage !== 'trits') {
      rows.push(row)
      continue
    }
    const nonzeros = (await container.readTrits(name, signal)).positions.length
    rows.push({ ...row, nonzeros, density: nonzeros / Math.max(1, elementCount(shape)) })
  }
  return rows
}

/** A safetensors file, or a folder with one or several. */
export async function inspectWeights(path: string, tensors: boolean): Promise<Inspection> {
  const { kind, source, adapterConfig } = await openExpertFolder(path)
  await source.close?.()
  const parameters = countParameters(source.tensors)
  const dtypes = [...new Set(source.tensors.map((tensor) => tensor.dtype))].sort()
  const rows = source.tensors.map(({ name, dtype, shape }): TensorRow => ({ name, dtype, shape, storage: 'plain' }))
  return {
    json: {
      path,
      format: 'safetensors',
      kind: adapterConfig ? kind : 'model',
      adapter_config: adapterConfig?.raw ?? null,
      metadata: source.metadata,
      tensor_count: rows.length,
      parameters,
      dtypes,
      ...(tensors && { tensors: rows }),
    },
    text: joined(
      formatFields({
        path,
        kind: adapterConfig ? `${kind} adapter` : 'model weights',
        adapter: adapterConfig ? describeAdapter(adapterConfig.raw) : null,
        tensors: rows.length,
        parameters,
        dtypes: dtypes.join(', '),
      }),
      tensors ? rows : undefined,
    ),
  }
}

function countParameters(tensors: readonly TensorInfo[]): number {
  return tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0)
}

function joined(fields: string, rows: readonly TensorRow[] | undefined): string {
  if (!rows) return fields
  const cells = rows.map((row) => [
    row.name,
    row.dtype,
    `[${row.shape.join(', ')}]`,
    row.storage,
    row.density === undefined ? '' : formatShare(row.density),
  ])
  return `${fields}\n\n${formatTable(['tensor', 'dtype', 'shape', 'storage', 'density'], cells)}`
}
