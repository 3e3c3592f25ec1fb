import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { codeSpans, importsOf, ROOT, readText, repositoryFiles, resolveImport, tableUnder } from './source-tree.ts'

const MAX_LINES = 400
/** Suites are lists of cases: long, but flat. */
const MAX_TEST_LINES = 700
const GENERATED = new Set(['compress/kernels/wasm-bytes.ts'])
const page = readText('ARCHITECTURE.md')
const files = repositoryFiles()
const program = files.filter(
  (file) => /^(errors\.ts$|tensors\/|compress\/|merge\/|registry\/|server\/|cli\/)/.test(file) && file.endsWith('.ts'),
)
const typescript = files.filter((file) => file.endsWith('.ts') && !GENERATED.has(file))

/** AssemblyScript looks like TypeScript and is another language: decorators, an entry file, modules of its own. */
const plain = typescript.filter((file) => !file.startsWith('compress/kernels/assembly/'))

/** Every import of the program, with where it leads. */
const edges = program
  .filter((file) => plain.includes(file) || GENERATED.has(file))
  .flatMap((file) => importsOf(readText(file)).map((one) => ({ file, ...one, ...resolveImport(file, one.specifier) })))

function isErrors(path: string, pattern: string): boolean {
  return pattern === '*/errors.ts' && /^(\w+\/)*errors\.ts$/.test(path)
}

function isUnder(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`)
}

describe('ARCHITECTURE.md', () => {
  test('stays within 150 lines', () => {
    expect(page.split('\n').length).toBeLessThanOrEqual(151)
  })

  test('names only paths that exist', () => {
    const paths = codeSpans(page).filter(
      (span) => /^[\w.-]+(\/[\w.-]+)*\/?$/.test(span) && /[/]|\.(ts|md|json|mjs|yaml)$/.test(span),
    )
    expect(paths.length).toBeGreaterThan(60)
    expect(paths.filter((path) => !existsSync(ROOT + path) && path !== 'namespace/name')).toEqual([])
  })

  test('has a row for every folder of the program', () => {
    const folders = new Set(tableUnder(page, 'Who may import whom').flatMap(([folder = '']) => codeSpans(folder)))
    const missing = program.filter((file) => ![...folders].some((folder) => isUnder(file, folder)))
    expect(missing).toEqual(['errors.ts'])
  })
})

describe('imports', () => {
  const rules = tableUnder(page, 'Who may import whom').flatMap(([folders = '', allowed = '']) => {
    const cells = allowed.split(',').map((cell) => ({ typeOnly: /\btypes\b/.test(cell), paths: codeSpans(cell) }))
    const targets = cells.flatMap(({ typeOnly, paths }) => paths.map((path) => ({ path, typeOnly })))
    return codeSpans(folders).map((folder) => ({ folder, targets, all: allowed === 'everything' }))
  })
  // The longest matching folder rules, so that server/http and server/wire.ts are judged by their own rows.
  const ruleOf = (file: string) =>
    rules.filter((rule) => isUnder(file, rule.folder)).sort((a, b) => b.folder.length - a.folder.length)[0]

  test('follow the table of ARCHITECTURE.md', () => {
    expect(edges.length).toBeGreaterThan(200)
    const broken = edges.flatMap((edge) => {
      const rule = ruleOf(edge.file)
      if (!('path' in edge) || !rule || rule.all || isUnder(edge.path, rule.folder)) return []
      const allowed = rule.targets.some(
        ({ path, typeOnly }) => (!typeOnly || edge.typeOnly) && (isUnder(edge.path, path) || isErrors(edge.path, path)),
      )
      return allowed ? [] : [`${edge.file} imports ${edge.path}`]
    })
    expect(broken).toEqual([])
  })

  test('name files that exist, with their extension', () => {
    const broken = edges.filter((edge) => 'path' in edge && !existsSync(ROOT + edge.path))
    expect(broken.map((edge) => `${edge.file}: ${'path' in edge ? edge.path : ''}`)).toEqual([])
  })

  test('reach a third party only through the files that fence it', () => {
    const fences = tableUnder(page, 'Third parties').map(([module = '', importers = '']) => ({
      modules: codeSpans(module),
      importers: codeSpans(importers),
    }))
    const broken = edges.flatMap((edge) => {
      if (!('module' in edge)) return []
      const fence = fences.find(({ modules }) => modules.some((name) => matchesModule(edge.module, name)))
      if (!fence) return edge.module.startsWith('node:') ? [] : [`${edge.module} has no row (${edge.file})`]
      const inside = fence.importers.some((importer) => matchesPath(edge.file, importer))
      return inside ? [] : [`${edge.file} imports ${edge.module}`]
    })
    expect(broken).toEqual([])
  })

  test('use every fence that the page draws', () => {
    const modules = edges.flatMap((edge) => ('module' in edge ? [edge.module] : []))
    const drawn = tableUnder(page, 'Third parties').flatMap(([module = '']) => codeSpans(module))
    expect(drawn.filter((name) => !modules.some((module) => matchesModule(module, name)))).toEqual([])
  })
})

/** `@aws-sdk/*` stands for a whole scope; `node:fs` covers `node:fs/promises`, whose first part it is. */
function matchesModule(module: string, name: string): boolean {
  return name.endsWith('/*') ? module.startsWith(name.slice(0, -1)) : module === name
}

/** `*` stands for any text within one path segment. */
function matchesPath(file: string, pattern: string): boolean {
  const source = pattern.replaceAll('.', '\\.').replaceAll('*', '[^/]*')
  return new RegExp(pattern.endsWith('/') ? `^${source}` : `^${source}$`).test(file)
}

describe('source files', () => {
  test(`stay within ${MAX_LINES} lines, tests within ${MAX_TEST_LINES}`, () => {
    const limit = (file: string) => (file.startsWith('test/') ? MAX_TEST_LINES : MAX_LINES)
    expect(typescript.filter((file) => readText(file).trimEnd().split('\n').length > limit(file))).toEqual([])
  })

  test('have no default export, but where a tool wants one', () => {
    const allowed = (file: string) => /(^|\/)[\w.]+\.config\.ts$/.test(file) || file === 'compress/node/worker.ts'
    expect(typescript.filter((file) => !allowed(file) && /^export default\b/m.test(readText(file)))).toEqual([])
  })

  // A type that belongs to a function's signature may be handed on beside it; values may not.
  test('are no barrels', () => {
    expect(plain.filter((file) => /^export (\*|\{[^}]*\}).* from /m.test(readText(file)))).toEqual([])
    expect(plain.filter((file) => /(^|\/)(utils?|helpers?|common)\.ts$/.test(file))).toEqual([])
  })

  test('switch no type check off', () => {
    const checked = plain.filter((file) => !file.startsWith('test/'))
    expect(checked.filter((file) => /@ts-(ignore|nocheck|expect-error)/.test(readText(file)))).toEqual([])
  })
})

describe('the repository', () => {
  test('has a lockfile without registry hosts', () => {
    const lock = readText('package-lock.json')
    expect(lock).not.toMatch(/"resolved"/)
    expect(lock).not.toMatch(/registry\.|npmjs|yarnpkg/)
  })

  test('names no machine path and no package registry', () => {
    const forbidden = new RegExp(
      [
        String.raw`/work/(main|shared|\.)`,
        String.raw`/root/\.`,
        String.raw`/home/\w+/`,
        '/tmp/tern/',
        'registry.npmjs',
        'npmjs.com',
        'pypi.org',
        'crates.io',
      ].join('|'),
    )
    const texts = files.filter((file) => /\.(ts|mjs|md|json|ya?ml|py|sh|txt|toml)$|(^|\/)[\w.-]+$/.test(file))
    const own = 'test/unit/architecture.test.ts'
    expect(texts.filter((file) => file !== own && !isBinary(file) && forbidden.test(readText(file)))).toEqual([])
  })
})

function isBinary(file: string): boolean {
  return /\.(safetensors|tern|bin|wasm|gz|whl|png|ico)$/.test(file)
}

describe('the readers of this test', () => {
  test('see static, type-only, dynamic and re-exporting imports', () => {
    const text = `import a from './a.ts'\nimport type { B } from './b.ts'\nexport { c } from './c.ts'\nawait import('./d.ts')\n`
    expect(importsOf(text).map(({ specifier, typeOnly }) => `${specifier} ${typeOnly}`)).toEqual([
      './a.ts false',
      './b.ts true',
      './c.ts false',
      './d.ts false',
    ])
  })

  test('name a package by its scope and first part', () => {
    expect(resolveImport('server/http/app.ts', '@aws-sdk/client-s3/dist')).toEqual({ module: '@aws-sdk/client-s3' })
    expect(resolveImport('server/http/app.ts', 'node:fs/promises')).toEqual({ module: 'node:fs' })
    expect(resolveImport('server/http/app.ts', '../wire.ts')).toEqual({ path: 'server/wire.ts' })
  })

  test('expand braces in code spans', () => {
    expect(codeSpans('see `a/{b,c}.ts` and `d`')).toEqual(['a/b.ts', 'a/c.ts', 'd'])
  })
})
