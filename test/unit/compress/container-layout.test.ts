import { describe, expect, test } from 'vitest'
import { HEADER_BYTES, MAX_SCALES_BYTES, MAX_TABLE_BYTES, readFixedHeader } from '../../../compress/container-layout.ts'
import { buildContainer, oneScale, openBytes } from './container-builder.ts'

const file = await buildContainer({
  tensors: [
    { name: 'w', dtype: 'F32', shape: [40, 40], trits: new Int8Array(1600).fill(1, 3, 9), scales: oneScale(1) },
  ],
})

function changed(change: (view: DataView, bytes: Uint8Array) => void): Uint8Array {
  const bytes = file.slice()
  change(new DataView(bytes.buffer), bytes)
  return bytes
}

describe('the fixed header', () => {
  test('lies at the documented offsets', () => {
    const view = new DataView(file.buffer)
    expect([...file.subarray(0, 8)]).toEqual([0x54, 0x45, 0x52, 0x4e, 0x0d, 0x0a, 0x1a, 0x0a])
    expect(view.getUint16(8, true)).toBe(1)
    expect([view.getUint16(10, true), view.getUint32(28, true)]).toEqual([0, 0])
    expect(readFixedHeader(file, file.length)).toEqual({
      tableStored: view.getUint32(12, true),
      tableRaw: view.getUint32(16, true),
      scalesStored: view.getUint32(20, true),
      scalesRaw: view.getUint32(24, true),
      payload: Number(view.getBigUint64(32, true)),
    })
  })

  test.each<[string, (view: DataView, bytes: Uint8Array) => void, string, string]>([
    ['other magic bytes', (_, bytes) => (bytes[5] = 0x0d), 'CONTAINER_INVALID', 'magic bytes'],
    ['a future version', (view) => view.setUint16(8, 2, true), 'CONTAINER_VERSION_UNSUPPORTED', 'version 2'],
    ['version 0', (view) => view.setUint16(8, 0, true), 'CONTAINER_VERSION_UNSUPPORTED', 'version 0'],
    ['a flag', (view) => view.setUint16(10, 0x8000, true), 'CONTAINER_INVALID', 'flags 32768'],
    ['a reserved bit', (view) => view.setUint32(28, 1, true), 'CONTAINER_INVALID', 'reserved field'],
    ['a table bomb', (view) => view.setUint32(16, MAX_TABLE_BYTES + 1, true), 'CONTAINER_INVALID', 'table of 16777217'],
    ['a scales bomb', (view) => view.setUint32(24, MAX_SCALES_BYTES + 1, true), 'CONTAINER_INVALID', 'scales block of'],
    ['a table past the end', (view) => view.setUint32(12, 2 ** 32 - 1, true), 'CONTAINER_INVALID', 'cut off'],
    ['a payload of 2^64 - 1', (view) => view.setBigUint64(32, 2n ** 64n - 1n, true), 'CONTAINER_INVALID', 'cut off'],
    ['a damaged digest', (_, bytes) => (bytes[50]! ^= 1), 'CHECKSUM_MISMATCH', 'do not match their digest'],
    ['a damaged table', (_, bytes) => (bytes[80]! ^= 1), 'CHECKSUM_MISMATCH', 'do not match their digest'],
    ['a smaller table claim', (view) => view.setUint32(16, 1, true), 'CHECKSUM_MISMATCH', 'do not match their digest'],
  ])('with %s is refused', async (_, change, code, message) => {
    const opened = openBytes(changed(change))
    await expect(opened).rejects.toMatchObject({ code })
    await expect(opened).rejects.toThrow(message)
  })

  test('is refused when the file is cut off anywhere', async () => {
    for (let length = 0; length < file.length; length++)
      await expect(openBytes(file.subarray(0, length))).rejects.toMatchObject({ code: 'CONTAINER_INVALID' })
  })

  test('is refused when something follows the file', async () => {
    const longer = Uint8Array.from([...file, 0])
    await expect(openBytes(longer)).rejects.toThrow('something follows its end')
  })

  test('takes 64 bytes', () => {
    expect(HEADER_BYTES).toBe(64)
  })
})
