/** Recipe text (YAML or JSON) to plain values, remembering on which line each key stands. */
import { isAlias, isMap, isScalar, isSeq, Lexer, LineCounter, type Node, Parser, parseDocument } from 'yaml'
import { MergeError } from './errors.ts'

/** Stops a request from making the parser hold an arbitrarily large tree. Real recipes are a few kilobytes. */
const MAX_RECIPE_CHARACTERS = 256 * 1024
/**
 * Stops a kilobyte of brackets, dashes or question marks from holding up the server: the library takes time that grows
 * with the square of the nesting, and with its cube for keys that are mappings. Real recipes nest seven deep.
 */
const MAX_NESTING = 32
/** Stops the same by way of many keys, each of which is compared with all others. No mapping of a recipe knows so many. */
const MAX_KEYS = 64
/** Stops lists beyond what any key of a recipe takes. */
const MAX_ITEMS = 4096
/** Stops "billion laughs": aliases that expand to exponentially many values. */
const MAX_ALIAS_EXPANSIONS = 100

export type RecipeFormat = 'yaml' | 'json'
export type RecipePath = readonly (string | number)[]

export interface RecipeDocument {
  readonly value: unknown
  /** 1-based line of the key at `path`, or of its nearest parent that is in the text. */
  lineOf(path: RecipePath): number | undefined
}

/** RECIPE_INVALID for text that is too large, is not YAML or JSON, or repeats a key. */
export function readRecipeDocument(text: string, format: RecipeFormat): RecipeDocument {
  if (text.length > MAX_RECIPE_CHARACTERS) {
    throw invalidText(`a recipe has at most ${MAX_RECIPE_CHARACTERS} characters, this one has ${text.length}`)
  }
  const json = format === 'json' ? parseJson(text) : undefined
  const lines = new LineCounter()
  checkSize(text, new LineCounter())
  const document = parseYaml(text, lines)
  // Valid JSON that YAML reads otherwise exists only in corners (number spellings): JSON's own reading wins.
  const value = format === 'json' ? json : toPlain(document)
  return { value, lineOf: (path) => lineOf(document, lines, path) }
}

type YamlDocument = ReturnType<typeof parseDocument>

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw invalidText(`not valid JSON: ${(error as Error).message}`)
  }
}

/**
 * Runs the library's first stage, which is linear, over the text and refuses what its others would take too long for.
 * Valid JSON is YAML enough for that.
 */
function checkSize(text: string, lines: LineCounter): void {
  const parser = new Parser(lines.addNewLine)
  lines.addNewLine(0)
  let documents = 0
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) {
      if (token.type === 'error') throw invalidAt(lines, token.offset, token.message)
      if (token.type === 'document' && ++documents > 1) throw invalidAt(lines, token.offset, 'a second document')
    }
    checkStack(parser, lines)
  }
}

/** What the parser is in the middle of: one token per level, the innermost last. */
function checkStack({ stack, offset }: Parser, lines: LineCounter): void {
  if (stack.length > MAX_NESTING) throw invalidText(`nested too deeply: at most ${MAX_NESTING} levels are read`)
  const top = stack.at(-1)
  if (top === undefined || !('items' in top)) return
  const isMapping = top.type === 'block-map' || (top.type === 'flow-collection' && top.start.source === '{')
  const most = isMapping ? MAX_KEYS : MAX_ITEMS
  if (top.items.length > most)
    throw invalidAt(lines, offset, `more than ${most} ${isMapping ? 'keys' : 'items'} in one place`)
}

function invalidAt(lines: LineCounter, offset: number, problem: string): MergeError {
  const { line } = lines.linePos(offset)
  return invalidText(`line ${line}: ${problem}`, line)
}

function parseYaml(text: string, lineCounter: LineCounter): YamlDocument {
  let document: YamlDocument
  try {
    // 1.1 is what PyYAML, and therefore mergekit, reads: `yes` is true.
    document = parseDocument(text, { lineCounter, version: '1.1', prettyErrors: false, logLevel: 'silent' })
  } catch (error) {
    if (error instanceof RangeError) throw invalidText('nested too deeply')
    throw error
  }
  const problem = document.errors[0] ?? document.warnings[0]
  if (problem) {
    throw invalidAt(lineCounter, problem.pos[0], problem.message)
  }
  return document
}

function toPlain(document: YamlDocument): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIAS_EXPANSIONS })
  } catch (error) {
    throw invalidText((error as Error).message)
  }
}

function invalidText(message: string, line?: number): MergeError {
  return new MergeError('RECIPE_INVALID', `recipe: ${message}`, line === undefined ? {} : { line })
}

function lineOf(document: YamlDocument, lines: LineCounter, path: RecipePath): number | undefined {
  let node: Node | null | undefined = document.contents
  let offset = node?.range?.[0]
  for (const step of path) {
    if (isAlias(node)) node = node.resolve(document)
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step))
      if (!pair) break
      offset = (pair.key as Node).range?.[0] ?? offset
      node = pair.value as Node | null
    } else if (isSeq(node) && typeof step === 'number') {
      node = node.items[step] as Node | undefined
      offset = node?.range?.[0] ?? offset
    } else break
  }
  return offset === undefined ? undefined : lines.linePos(offset).line
}
