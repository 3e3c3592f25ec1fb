/** Reads the repository as text for the architecture test: its files, the imports of a file, tables of a page. */
import { readdirSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const SKIPPED = new Set(['node_modules', '.git', '.cache', 'tern-data', '__pycache__'])

/** Every file of the tree, relative to its root, without what is installed, cached or produced. */
export function repositoryFiles(folder = ''): string[] {
  return readdirSync(ROOT + folder, { withFileTypes: true }).flatMap((entry) => {
    if (SKIPPED.has(entry.name)) return []
    const path = posix.join(folder, entry.name)
    return entry.isDirectory() ? repositoryFiles(path) : [path]
  })
}

export function readText(path: string): string {
  return readFileSync(ROOT + path, 'utf8')
}

export interface Import {
  readonly specifier: string
  /** `import type`: erased before anything runs. */
  readonly typeOnly: boolean
}

/** What a TypeScript text imports: statically, for its types, dynamically, by handing on. */
export function importsOf(text: string): Import[] {
  const erased = new Set(
    ts
      .createSourceFile('text.ts', text, ts.ScriptTarget.Latest)
      .statements.flatMap((statement) => (isTypeImport(statement) ? [statement.moduleSpecifier] : []))
      .map((specifier) => specifier.pos),
  )
  return ts.preProcessFile(text, true, true).importedFiles.map(({ fileName, pos }) => ({
    specifier: fileName,
    // preProcessFile points into the quotes, the syntax tree before the blank in front of them.
    typeOnly: [...erased].some((start) => start <= pos && pos - start <= 3),
  }))
}

function isTypeImport(node: ts.Statement): node is ts.ImportDeclaration {
  return ts.isImportDeclaration(node) && node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword
}

/** Where a specifier of `file` leads: a path in the repository, or the name of a package or Node module. */
export function resolveImport(file: string, specifier: string): { path: string } | { module: string } {
  if (specifier.startsWith('.')) return { path: posix.join(posix.dirname(file), specifier) }
  const parts = specifier.split('/')
  return { module: specifier.startsWith('@') ? parts.slice(0, 2).join('/') : (parts[0] ?? '') }
}

/** Rows of the first Markdown table under a heading, cells trimmed, without the head. */
export function tableUnder(page: string, heading: string): string[][] {
  const section = page.split(/^## /m).find((part) => part.startsWith(`${heading}\n`))
  if (section === undefined) throw new Error(`no heading "${heading}"`)
  const lines = section.split('\n')
  const first = lines.findIndex((line) => line.startsWith('|'))
  const rows = lines.slice(first)
  const end = rows.findIndex((line) => !line.startsWith('|'))
  return rows.slice(2, end < 0 ? undefined : end).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

/** Texts between backticks; `{a,b}` stands for one name each, as in a shell. */
export function codeSpans(text: string): string[] {
  return [...text.matchAll(/`([^`\n]+)`/g)].flatMap((match) => expandBraces(match[1] ?? ''))
}

function expandBraces(text: string): string[] {
  const match = /^(.*?)\{([^{}]*,[^{}]*)\}(.*)$/.exec(text)
  if (!match) return [text]
  const [, before = '', choices = '', after = ''] = match
  return choices.split(',').flatMap((choice) => expandBraces(before + choice.trim() + after))
}
