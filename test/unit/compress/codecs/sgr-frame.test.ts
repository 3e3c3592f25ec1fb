/** SGR frames put together section by section: what a decoder must refuse although every length fits. */
import { describe, expect, test } from 'vitest'
import { sgr, sgrWith } from '../../../../compress/codecs/sgr.ts'
import type { SgrSections } from '../../../../compress/codecs/sgr-frame.ts'
import { layOutParts } from '../../../../compress/codecs/sgr-layout.ts'
import { referenceCoder } from '../../../../compress/codecs/sgr-reference.ts'
import { varintLength, writeVarint } from '../../../../compress/codecs/varint.ts'
import { cutIntoFrames, largestOfNormal, tritTensor } from '../../../fixtures/trits.ts'

function varints(values: ArrayLike<number>): number[] {
  return Array.from(values).flatMap((value) => {
    const bytes = new Uint8Array(varintLength(value))
    writeVarint(bytes, 0, value)
    return [...bytes]
  })
}

function join({ nonZeros, escapes, rans, raw }: SgrSections): Uint8Array {
  const head = [...varints(nonZeros), ...escapes]
  return Uint8Array.from([...varints([head.length, rans.length]), ...head, ...rans, ...raw])
}

/** Forty non-zeros close together and one far away: its gap has no symbol of its own. */
const escaping = tritTensor(
  64,
  64,
  Array.from({ length: 4096 }, (_, i) => (i % 3 === 0 && i < 120 ? 1 : i === 4000 ? -1 : 0)),
)
/** A single entry, so that the section is short enough to write by hand. */
const single = tritTensor(1, 1, [-1])

describe.each([
  ['in WebAssembly', sgr],
  ['in the reference', sgrWith(referenceCoder)],
])('an SGR frame read %s', (_, codec) => {
  function sectionsOf(tensor: typeof escaping) {
    const parts = cutIntoFrames(codec, [tensor])[0]!.map((part) => ({ ...part, side: Uint8Array.of(0) }))
    const sections = referenceCoder.encode(
      layOutParts(parts),
      parts.map(({ positions }) => positions),
    )
    return {
      parts,
      sections,
      decode: (changed: Partial<SgrSections>) => codec.decodeFrame(join({ ...sections, ...changed }), parts),
    }
  }

  test('is accepted as it is', () => {
    const { sections, decode } = sectionsOf(escaping)
    expect(decode({})).toEqual([escaping.positions])
    expect(sections.escapes.length).toBeGreaterThan(0)
  })

  test('is refused with a rANS word too few or too many', () => {
    const { sections, decode } = sectionsOf(largestOfNormal(64, 64, 0.1, 1))
    const { rans } = sections
    expect(() => decode({ rans: rans.subarray(0, rans.length - 2) })).toThrow('a rANS section that ends too early')
    expect(() => decode({ rans: Uint8Array.from([...rans, 0, 0]) })).toThrow('words left in the rANS section')
  })

  test('is refused with an odd number of bytes, or no states, in its rANS section', () => {
    const { sections, decode } = sectionsOf(escaping)
    expect(() => decode({ rans: Uint8Array.from([...sections.rans, 0]) })).toThrow('a rANS section of')
    expect(() => decode({ rans: new Uint8Array(6) })).toThrow('a rANS section of 6 bytes')
  })

  test('is refused with an escape too few or too many', () => {
    const { sections, decode } = sectionsOf(escaping)
    expect(() => decode({ escapes: new Uint8Array(0) })).toThrow('escape')
    expect(() => decode({ escapes: Uint8Array.from([...sections.escapes, 0]) })).toThrow('bytes after the last escape')
  })

  test('is refused with an escape for a gap that has a symbol', () => {
    const { decode } = sectionsOf(escaping)
    expect(() => decode({ escapes: Uint8Array.of(1) })).toThrow('has a symbol of its own')
  })

  test.each([0xff, 0xffff, 2 ** 31, 2 ** 32 - 1])('is refused with the escape %i, past the end of the part', (high) => {
    const { decode } = sectionsOf(escaping)
    expect(() => decode({ escapes: Uint8Array.from(varints([high])) })).toThrow('a position past')
  })

  test('is refused with a state below 2^16, even where it decodes to the same trits', () => {
    const { sections, decode } = sectionsOf(single)
    expect([...sections.rans]).toEqual([0xe0, 0x0a, 0x01, 0, 0, 0, 1, 0])
    expect(() => decode({ rans: Uint8Array.of(1, 0, 0, 0, 0, 0, 1, 0, 0, 0) })).toThrow(/rANS state/)
  })

  test('is refused with other final states', () => {
    const { sections, decode } = sectionsOf(single)
    const rans = sections.rans.slice()
    rans[4] = 1
    expect(() => decode({ rans })).toThrow(/rANS states/)
  })

  test('is refused with more non-zeros than entries, or than its raw section can hold', () => {
    const { decode } = sectionsOf(escaping)
    expect(() => decode({ nonZeros: Uint32Array.of(4097) })).toThrow('4097 non-zeros in a stratum of 4096 entries')
    expect(() => decode({ nonZeros: Uint32Array.of(4096) })).toThrow('counts ask for 4096 bits')
  })

  test('is refused with a raw section of another length, or with set padding', () => {
    const { sections, decode } = sectionsOf(single)
    expect(() => decode({ raw: Uint8Array.from([...sections.raw, 0]) })).toThrow('a raw section of 2 bytes')
    expect(() => decode({ raw: Uint8Array.of(3) })).toThrow('padding bits')
  })

  test('is refused where a section is said to be longer than the frame', () => {
    const { parts } = sectionsOf(single)
    const huge = varints([2 ** 32 - 1])
    expect(() => codec.decodeFrame(Uint8Array.from([...huge, ...huge, 0, 0]), parts)).toThrow('sections of 4294967295')
  })
})
