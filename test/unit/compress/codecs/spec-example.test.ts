/** The example of spec/CODECS.md, read from the page itself. */
import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { bitplane } from '../../../../compress/codecs/bitplane.ts'
import { rice } from '../../../../compress/codecs/rice.ts'
import { sgr, sgrWith } from '../../../../compress/codecs/sgr.ts'
import { encodeStrataFrame } from '../../../../compress/codecs/sgr-frame.ts'
import { referenceCoder } from '../../../../compress/codecs/sgr-reference.ts'
import { writeSide } from '../../../../compress/codecs/sgr-side.ts'
import { TABLES } from '../../../../compress/codecs/sgr-tables.ts'
import { tritTensor } from '../../../fixtures/trits.ts'

const page = await readFile(new URL('../../../../spec/CODECS.md', import.meta.url), 'utf8')

function bytesOf(what: string): Uint8Array {
  const hex = new RegExp(`^\\| ${what} *\\| \`([0-9a-f ]+)\` *\\|$`, 'm').exec(page)?.[1]
  if (hex === undefined) throw new Error(`CODECS.md has no example called ${what}`)
  return Uint8Array.from(hex.split(' '), (byte) => Number.parseInt(byte, 16))
}

function drawnTensor() {
  const rows = page.match(/^[+.-]{8}$/gm) ?? []
  const trits = [...rows.join('')].map((char) => ({ '+': 1, '-': -1 })[char] ?? 0)
  return tritTensor(rows.length, 8, trits)
}

describe('the example of CODECS.md', () => {
  const { rows, cols, positions } = drawnTensor()
  const part = { rows, cols, start: 0, cells: rows * cols, side: bytesOf('sgr side information'), positions }

  test('is a tensor of 6 x 8 with 14 non-zeros', () => {
    expect([rows, cols, positions.length]).toEqual([6, 8, 14])
  })

  test('is what the encoders write', () => {
    const rowClasses = Uint8Array.of(1, 0, 0, 1, 0, 0)
    const classes = { rowClassCount: 2, colClassCount: 1, rowClasses, colClasses: undefined }
    expect(writeSide(classes)).toEqual(part.side)
    expect(bitplane.encodeFrame([part])).toEqual(bytesOf('bitplane frame'))
    expect(rice.encodeFrame([part])).toEqual(bytesOf('rice frame'))
    expect(encodeStrataFrame(referenceCoder, [part])).toEqual(bytesOf('sgr frame'))
    expect(sgr.encodeFrame([part])).toEqual(bytesOf('sgr frame in its Rice form'))
  })

  test.each(['sgr frame', 'sgr frame in its Rice form'])('is what the decoders read from the %s', (what) => {
    expect(sgr.decodeFrame(bytesOf(what), [part])).toEqual([positions])
    expect(sgrWith(referenceCoder).decodeFrame(bytesOf(what), [part])).toEqual([positions])
  })
})

describe('the tables of CODECS.md', () => {
  test('have the numbers of symbols that the page lists', () => {
    const listed = /^`((?:\d+ ){31}\d+)`/m.exec(page)?.[1]
    expect(TABLES.map(({ escapeSymbol }) => escapeSymbol + 1).join(' ')).toBe(listed)
  })

  test('give every symbol at least two slots or its share, and all 4096 together', () => {
    for (const { starts, escapeSymbol } of TABLES) {
      expect(starts[0]).toBe(0)
      expect(starts[escapeSymbol + 1]).toBe(4096)
      expect(4096 - starts[escapeSymbol]!).toBeGreaterThanOrEqual(2)
      for (let h = 0; h <= escapeSymbol; h++) expect(starts[h + 1]! - starts[h]!).toBeGreaterThan(0)
    }
  })
})
