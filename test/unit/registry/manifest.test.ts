/** The one spelling of a manifest, and the strict way back. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalJson } from '../../../registry/canonical-json.ts'
import { sha256 } from '../../../registry/digest.ts'
import { checkManifest, encodeManifest, findFile, type Manifest, parseManifest } from '../../../registry/manifest.ts'

const digest = sha256(new Uint8Array())
const file = (path: string) => ({ path, digest, size: 0, media_type: 'text/plain' })
const manifest: Manifest = {
  schema: 1,
  repo: 'ns/one',
  type: 'expert',
  parent: null,
  files: [file('a'), file('b')],
  derived: [file('c')],
  annotations: { kind: 'lora' },
}
const bytesOf = (text: string) => new TextEncoder().encode(text)
const invalid = (code: string) => expect.objectContaining({ code })

describe('canonical JSON', () => {
  test.each([
    [{ b: 1, a: [true, null, 'x'] }, '{"a":[true,null,"x"],"b":1}'],
    [{ é: 1, z: 2, '\uffee': 3, '😀': 4 }, '{"z":2,"é":1,"\uffee":3,"😀":4}'],
    [{ a: undefined, b: 0.1, c: -0, d: 1e21 }, '{"b":0.1,"c":0,"d":1e+21}'],
    ['"\u2028\n\ud800', '"\\"\u2028\\n\\ud800"'],
  ])('spells %j as %s', (value, text) => {
    expect(canonicalJson(value)).toBe(text)
  })

  test('is JSON that reads back as the value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })

  test('does not depend on the order of keys', () => {
    const reversed = (value: Record<string, unknown>) => Object.fromEntries(Object.entries(value).reverse())
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.integer()), (value) => {
        expect(canonicalJson(reversed(value))).toBe(canonicalJson(value))
      }),
    )
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 1n, new Date(), new Map(), () => 1, Symbol('x'), [undefined]])(
    'refuses %s and says where it stands',
    (value) => {
      expect(() => canonicalJson({ annotations: { report: value } })).toThrow(/^annotations\.report/)
    },
  )

  test('refuses what is nested too deep instead of overflowing the stack', () => {
    let deep: unknown = 1
    for (let i = 0; i < 100_000; i += 1) deep = [deep]
    expect(() => canonicalJson(deep)).toThrow(invalid('MANIFEST_INVALID'))
  })
})

describe('a manifest', () => {
  test('is read back as it was written', () => {
    expect(parseManifest(encodeManifest(manifest).bytes)).toEqual(manifest)
  })

  test('has one digest whatever the order of files and keys', () => {
    const { schema, repo, type, parent, files, derived, annotations } = manifest
    const shuffled = { annotations, derived, files: files.toReversed(), parent, type, repo, schema }
    expect(encodeManifest(shuffled).digest).toBe(encodeManifest(manifest).digest)
  })

  test('has the digest that Python gives for its sorted, compact JSON', () => {
    expect(encodeManifest(manifest).digest).toBe(
      'sha256:4e6673f4be14ea8c7d2d6b4262bfdf7e808d6afaa7aeecf4f7a167a20bec2b51',
    )
  })

  test.each([
    ['text that is not JSON', '{'],
    ['an array', '[]'],
    ['spaces', JSON.stringify(manifest, null, 1)],
    ['keys out of order', JSON.stringify(manifest)],
    ['a key twice', encodeText().replace('"parent":null', '"parent":null,"parent":null')],
    ['a field of another version', encodeText({ owner: 'me' })],
    ['another schema', encodeText({ schema: 2 })],
    ['another type', encodeText({ type: 'dataset' })],
    ['a parent that is a revision', encodeText({ parent: 'a'.repeat(40) })],
    ['a digest in capitals', encodeText({ files: [{ ...file('a'), digest: digest.toUpperCase() }] })],
    ['a negative size', encodeText({ files: [{ ...file('a'), size: -1 }] })],
    ['a size beyond 2^53', encodeText({ files: [{ ...file('a'), size: 2 ** 53 }] })],
    ['a media type with a line break', encodeText({ files: [{ ...file('a'), media_type: 'a/b\r\nx: y' }] })],
    ['a file with an unknown field', encodeText({ files: [{ ...file('a'), mode: 7 }] })],
    ['files out of order', encodeText({ files: [file('b'), file('a')] })],
    ['annotations that are a list', encodeText({ annotations: [] })],
  ])('with %s is MANIFEST_INVALID', (_, text) => {
    expect(() => parseManifest(bytesOf(text))).toThrow(invalid('MANIFEST_INVALID'))
  })

  test('that is not UTF-8 is MANIFEST_INVALID', () => {
    expect(() => parseManifest(Uint8Array.of(0x7b, 0xff, 0x7d))).toThrow(invalid('MANIFEST_INVALID'))
  })

  test.each([
    [['a', 'a'], 'a'],
    [['x', 'x/y'], 'x/y'],
    [['d/e/f', 'd'], 'd/e/f'],
  ])('with the files %j is PATH_INVALID', (paths, named) => {
    const check = () => checkManifest({ ...manifest, files: paths.map(file) })
    expect(check).toThrow(
      expect.objectContaining({ code: 'PATH_INVALID', detail: expect.objectContaining({ path: named }) }),
    )
  })

  test('may have files whose names only begin like a folder', () => {
    expect(() => checkManifest({ ...manifest, files: ['x', 'x.y', 'xy/z'].map(file) })).not.toThrow()
  })

  test('with too many files is LIMIT_EXCEEDED', () => {
    const files = Array.from({ length: 10_001 }, (_, i) => file(`f${i}`))
    expect(() => checkManifest({ ...manifest, files })).toThrow(invalid('LIMIT_EXCEEDED'))
  })

  test('that would not fit in memory is LIMIT_EXCEEDED', () => {
    const annotations = { report: 'x'.repeat(17 * 1024 * 1024) }
    expect(() => encodeManifest({ ...manifest, annotations })).toThrow(invalid('LIMIT_EXCEEDED'))
  })

  test('finds stored and derived files by path', () => {
    expect(findFile(manifest, 'a')).toEqual({ file: file('a'), derived: false })
    expect(findFile(manifest, 'c')).toEqual({ file: file('c'), derived: true })
    expect(() => findFile(manifest, 'd')).toThrow(invalid('ENTRY_NOT_FOUND'))
  })
})

/** A manifest changed in some fields, spelled canonically but for what is wrong with it. */
function encodeText(change: Record<string, unknown> = {}): string {
  return canonicalJson({ ...manifest, ...change })
}
