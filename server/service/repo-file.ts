/** Media types of the files of a repo, by name. */

const TYPES: Readonly<Record<string, string>> = {
  json: 'application/json',
  jsonl: 'application/x-ndjson',
  md: 'text/markdown; charset=utf-8',
  txt: 'text/plain; charset=utf-8',
  jinja: 'text/plain; charset=utf-8',
  yml: 'application/yaml',
  yaml: 'application/yaml',
  tern: 'application/vnd.tern.container.v1',
}

export const BYTES = 'application/octet-stream'

export function mediaTypeOf(path: string): string {
  return TYPES[path.slice(path.lastIndexOf('.') + 1).toLowerCase()] ?? BYTES
}
