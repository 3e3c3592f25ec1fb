/** The bucket's layout. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Digest, digestHex, isDigest, revisionOf, sha256 } from '../../../registry/digest.ts'
import { blobKey, checkKey, digestOfKey, manifestKey, repoKey } from '../../../registry/keys.ts'

const digest: Digest = `sha256:${'ab'.repeat(32)}`

test('draws the keys of blobs, manifests and repos', () => {
  expect(blobKey(digest)).toBe(`blobs/sha256/ab/${'ab'.repeat(32)}`)
  expect(manifestKey(digest)).toBe(`manifests/sha256/ab/${'ab'.repeat(32)}`)
  expect(repoKey('Ns/My.Name')).toBe('repos/ns/my.name.json')
})

test('a repo name cannot lead its key elsewhere', () => {
  expect(() => repoKey('../x')).toThrow(expect.objectContaining({ code: 'NAME_INVALID' }))
})

test('no key is a path prefix of another', () => {
  const part = fc.stringMatching(/^[a-z0-9]([a-z0-9._]{0,8}[a-z0-9])?$/).filter((name) => !/\.\.|\.git$/.test(name))
  const key = fc.oneof(
    fc.tuple(part, part).map(([ns, name]) => repoKey(`${ns}/${name}`)),
    fc.string().map((text) => blobKey(sha256(new TextEncoder().encode(text)))),
    fc.string().map((text) => manifestKey(sha256(new TextEncoder().encode(text)))),
  )
  fc.assert(
    fc.property(key, key, (a, b) => {
      expect(() => checkKey(a)).not.toThrow()
      expect(b.startsWith(`${a}/`)).toBe(false)
    }),
  )
})

test('the digest is read back from the keys that hold one, and from no other', () => {
  expect(digestOfKey(blobKey(digest))).toBe(digest)
  expect(digestOfKey(manifestKey(digest))).toBe(digest)
  for (const key of ['blobs/x', `blobs/sha256/cd/${'ab'.repeat(32)}`, `other/${'ab'.repeat(32)}`, repoKey('ns/one')]) {
    expect(digestOfKey(key)).toBeUndefined()
  }
})

test('the sha256 of nothing is the known one, and its first 40 digits are the revision', () => {
  const empty = sha256(new Uint8Array())
  expect(empty).toBe('sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
  expect(revisionOf(empty)).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4')
  expect(digestHex(empty)).toHaveLength(64)
})

test.each([
  '',
  'sha256:',
  `sha256:${'A'.repeat(64)}`,
  `sha256:${'a'.repeat(63)}`,
  `sha512:${'a'.repeat(64)}`,
  `${digest}\n`,
  7,
])('%j is no digest', (value) => {
  expect(isDigest(value)).toBe(false)
})
