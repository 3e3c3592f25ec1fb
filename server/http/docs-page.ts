/** The API as one page to read: made from the routes, without scripts. */
import { z } from 'zod'
import { groupBy } from './group-by.ts'
import { documentedPath } from './openapi.ts'
import type { AnyRoute, ResponseSpec } from './route.ts'

const STYLE = `
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; text-transform: capitalize }
section { margin: 1.5rem 0 }
h3 { margin: 0; font: 600 1rem ui-monospace, monospace; overflow-wrap: anywhere }
.method { display: inline-block; min-width: 4.5rem; color: #06508c }
table { border-collapse: collapse; margin: .4rem 0 }
td { padding: .1rem 1rem .1rem 0; vertical-align: top }
code { font-family: ui-monospace, monospace }
.errors { color: #666; font-size: .85rem }
@media (prefers-color-scheme: dark) { body { background: #1b1b1b; color: #ddd } .method { color: #7fc0f2 } }
`

export function docsPage(routes: readonly AnyRoute[], version: string): string {
  const groups = groupBy(routes, ({ tag }) => tag)
  const body = [...groups].map(([tag, list]) => `<h2>${html(tag)}</h2>${list.map(section).join('')}`).join('')
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Tern ${html(version)}: API</title><style>${STYLE}</style></head><body>
<h1>Tern ${html(version)}</h1>
<p>The registry for ternary-compressed experts: upload, fetch and merge fine-tunes. The same description for programs:
<a href="/openapi.json">/openapi.json</a>. Failures answer
<code>{ "error": { "code", "message", "detail" } }</code>; the codes are listed with each call.</p>
${body}</body></html>
`
}

function section(spec: AnyRoute): string {
  const errors = (spec.errors ?? []).map((code) => `<code>${code}</code>`).join(' ')
  return `<section><h3><span class="method">${spec.method.toUpperCase()}</span>${html(documentedPath(spec.path))}</h3>
<p>${html(spec.summary)}.${spec.description === undefined ? '' : ` ${html(spec.description)}`}</p>
${table('query', queryRows(spec))}${table('body', bodyRows(spec))}${table('answers', answerRows(spec))}
${errors === '' ? '' : `<p class="errors">${errors}</p>`}</section>`
}

function table(title: string, rows: readonly (readonly [string, string])[]): string {
  if (rows.length === 0) return ''
  const cells = rows.map(([name, text]) => `<tr><td><code>${html(name)}</code></td><td>${html(text)}</td></tr>`)
  return `<table aria-label="${title}">${cells.join('')}</table>`
}

function queryRows({ query }: AnyRoute): [string, string][] {
  if (query === undefined) return []
  const { properties = {} } = z.toJSONSchema(query, { io: 'input' }) as { properties?: Record<string, Field> }
  return Object.entries(properties).map(([name, field]) => [`?${name}=`, describe(field)])
}

interface Field {
  readonly description?: string
  readonly enum?: readonly unknown[]
  readonly default?: unknown
}

function describe(field: Field): string {
  const choice = field.enum === undefined ? '' : field.enum.join(' | ')
  const fallback = field.default === undefined ? '' : `default ${String(field.default)}`
  return [field.description, choice, fallback].filter((part) => part !== undefined && part !== '').join('; ')
}

function bodyRows({ body }: AnyRoute): [string, string][] {
  if (body === undefined) return []
  return Object.keys(body.content).map((type) => [type, body.description])
}

function answerRows({ responses }: AnyRoute): [string, string][] {
  return Object.entries<ResponseSpec>(responses).map(([status, { description }]) => [status, description])
}

function html(text: string): string {
  const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
  return text.replace(/[&<>"]/g, (char) => entities[char] ?? char)
}
