/** Names of repos, refs and files: what is let in and what is kept out. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkPath, checkRefName, foldRepoId, parseRepoId } from '../../../registry/names.ts'

const invalid = (code: string) => expect.objectContaining({ code })

describe('a repo id', () => {
  test.each(['ns/name', 'a/b', 'Qwen/Qwen2.5-0.5B', 'x_y/z.1-2_3', `${'n'.repeat(96)}/${'m'.repeat(96)}`])(
    '%j is one',
    (id) => {
      const [namespace, name] = id.split('/')
      expect(parseRepoId(id)).toEqual({ namespace, name })
    },
  )

  test.each([
    '',
    'name',
    'a/b/c',
    '/name',
    'ns/',
    '../etc',
    'ns/..',
    'ns/a..b',
    'ns/.hidden',
    'ns/-x',
    'ns/_x',
    'ns/x.',
    'ns/x-',
    'ns/x.git',
    'ns/x.GIT',
    'ns/a--b',
    'ns/a b',
    'ns/ä',
    'ns/a\n',
    'ns\\x/y',
    `ns/${'m'.repeat(97)}`,
    'ns/%2e%2e',
  ])('%j is none', (id) => {
    expect(() => parseRepoId(id)).toThrow(invalid('NAME_INVALID'))
  })

  test('is compared without regard to case', () => {
    expect(foldRepoId('Ns/Name')).toBe(foldRepoId('nS/nAME'))
  })

  test('that is a megabyte long is not repeated in the error', () => {
    expect(() => parseRepoId('x'.repeat(1_000_000))).toThrow(/^.{0,400}$/)
  })
})

describe('a ref name', () => {
  test.each(['main', 'v1.0', 'feature/x', 'a'.repeat(200), 'abc123', '2024-01-01', 'constructor'])(
    '%j is one',
    (name) => {
      expect(() => checkRefName(name)).not.toThrow()
    },
  )

  test.each([
    '',
    'HEAD',
    'refs/heads/x',
    'a'.repeat(201),
    'a'.repeat(40),
    'A'.repeat(64),
    `sha256:${'0'.repeat(64)}`,
    '/x',
    'x/',
    'a//b',
    '../x',
    'a..b',
    '.x',
    'x.',
    'x.lock',
    'a b',
    '__proto__',
    'a\u0000',
    'a~1',
  ])('%j is none', (name) => {
    expect(() => checkRefName(name)).toThrow(invalid('NAME_INVALID'))
  })
})

describe('a path', () => {
  test.each([
    'README.md',
    'a/b/c.txt',
    'with space',
    '..a/b..',
    '日本語/😀',
    'x'.repeat(512),
    '-',
    '.gitattributes',
    'a:b',
  ])('%j is one', (path) => {
    expect(() => checkPath(path)).not.toThrow()
  })

  test.each([
    '',
    '/etc/passwd',
    '../x',
    'a/../b',
    'a/..',
    './x',
    'a/./b',
    'a//b',
    'a/',
    'a\\b',
    '..\\x',
    'a\u0000b',
    'a\nb',
    'a\u007f',
    'a\u0085b',
    '\ud800',
    'x'.repeat(513),
    'é'.repeat(257),
    '.git/hooks/post-checkout',
    'a/.GIT/config',
  ])('%j is none', (path) => {
    expect(() => checkPath(path)).toThrow(invalid('PATH_INVALID'))
  })

  test('that is let in stays below the folder it is joined to', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('.', '/', 'a', '\\', '\u0000', ' ') }), (path) => {
        try {
          checkPath(path)
        } catch {
          return
        }
        const { pathname } = new URL(`file:///root/${encodeURI(path)}`)
        expect(pathname.startsWith('/root/')).toBe(true)
      }),
    )
  })
})
