import { describe, expect, test } from 'vitest'
import { headerWatch } from '../../../server/service/header-watch.ts'
import { safetensors } from '../../api/models.ts'

const FILE = safetensors([{ name: 'w', dtype: 'F32', shape: [4], values: Float32Array.of(1, 2, 3, 4) }])

function feed(bytes: Uint8Array, step: number): void {
  const watch = headerWatch('model.safetensors')
  for (let at = 0; at < bytes.byteLength; at += step) watch.push(bytes.subarray(at, at + step))
  watch.end(bytes.byteLength)
}

describe('the watch on a safetensors header', () => {
  test.each([1, 3, 8, 9, 1000])('lets a good file pass in pieces of %d bytes', (step) => {
    expect(() => feed(FILE, step)).not.toThrow()
  })

  test('ends a bad one as soon as its header is in', () => {
    const bad = Buffer.from(FILE)
    bad.write('"X32"', bad.indexOf('"F32"'))
    const watch = headerWatch('model.safetensors')
    const end = 8 + Number(bad.readBigUInt64LE(0))
    watch.push(bad.subarray(0, end - 1))
    expect(() => watch.push(bad.subarray(end - 1, end))).toThrow(
      expect.objectContaining({ code: 'DTYPE_UNSUPPORTED', message: expect.stringContaining('model.safetensors') }),
    )
  })

  test.each([
    ['shorter', FILE.subarray(0, -1)],
    ['longer', Buffer.concat([FILE, Uint8Array.of(0)])],
  ])('refuses a file %s than its header says', (_, bytes) => {
    expect(() => feed(bytes, 16)).toThrow(expect.objectContaining({ code: 'SAFETENSORS_INVALID' }))
  })

  test('refuses a file that ends within its header', () => {
    expect(() => feed(FILE.subarray(0, 20), 16)).toThrow(
      expect.objectContaining({ code: 'SAFETENSORS_INVALID', detail: expect.objectContaining({ size: 20 }) }),
    )
  })
})
