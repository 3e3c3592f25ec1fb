/**
 * The 32 static tables of SGR and the choice among them. CODECS.md, "Tables".
 * Everything is integer arithmetic on the constants below, so that every machine builds the same tables.
 */

/** Frequencies of a table sum to 2^12. */
export const TABLE_BITS = 12
export const TABLE_SLOTS = 2 ** TABLE_BITS
export const TABLE_COUNT = 32
/** Symbols of a table, the escape included. */
export const MAX_SYMBOLS = 63

/** THRESHOLDS[i] = round(4096 * 2^(i/8)): bounds of cells per non-zero, in 1/4096. */
// biome-ignore format: a table
const THRESHOLDS = [
  4096, 4467, 4871, 5312, 5793, 6317, 6889, 7512, 8192, 8933, 9742, 10624, 11585, 12634, 13777, 15024, 16384, 17867,
  19484, 21247, 23170, 25268, 27554, 30048, 32768,
]
const TOP_THRESHOLD = 32768
const DIRECT_TABLES = 24
/** A shifted ratio lies in the last octave, thresholds 16 to 24. */
const SHIFTED_OCTAVE = 16

/** Ratio of the geometric distribution of each table, times 2^32. */
// biome-ignore format: a table
const RATIOS = [
  0x0ada82eb, 0x1f332114, 0x31db73eb, 0x42f75c61, 0x52a7c116, 0x610acd9f, 0x6e3c2c8c, 0x7a553c98,
  0x856d4175, 0x8f99908a, 0x98edb9f5, 0xa17bae30, 0xa953e08b, 0xb08566d0, 0xb71e1646, 0xbd2a9e4c,
  0xc2b6a0bb, 0xc7ccc845, 0xcc76dcfb, 0xd0bdd718, 0xd4a9f045, 0xd842b368, 0xdb8f0b23, 0xde954f26,
  0xc7ffc971, 0xcc42756a, 0xd039d6f4, 0xd3e9e12e, 0xd75689c5, 0xda83bc9c, 0xdd755205, 0xe02f0735,
]

export interface SymbolTable {
  /** Symbol h has the slots [starts[h], starts[h + 1]). The last symbol is the escape. */
  readonly starts: Uint16Array
  /** Index of the escape symbol = number of plain symbols. */
  readonly escapeSymbol: number
  /** Symbol of each slot. */
  readonly symbolOf: Uint8Array
}

export const TABLES: readonly SymbolTable[] = RATIOS.map((ratio) => buildTable(BigInt(ratio)))

function buildTable(ratio: bigint): SymbolTable {
  const slots = BigInt(TABLE_SLOTS)
  const half = 1n << 31n
  const starts = [0]
  let tail = 1n << 32n // probability that the symbol is h or more, times 2^32
  while (starts.length < MAX_SYMBOLS) {
    tail = (tail * ratio + half) >> 32n
    const start = Number(slots - ((slots * tail + half) >> 32n))
    if (start <= starts[starts.length - 1]! || TABLE_SLOTS - start < 2) break
    starts.push(start)
  }
  const escapeSymbol = starts.length - 1
  starts.push(TABLE_SLOTS)
  const symbolOf = new Uint8Array(TABLE_SLOTS)
  for (let h = 0; h <= escapeSymbol; h++) symbolOf.fill(h, starts[h]!, starts[h + 1]!)
  return { starts: Uint16Array.from(starts), escapeSymbol, symbolOf }
}

/** How a stratum of `cells` entries with `nonZeros` > 0 codes its gaps: gap >> shift with the table, `shift` bits as they are. */
export function pickTable(cells: number, nonZeros: number): { table: number; shift: number } {
  const ratio = Math.floor((cells * TABLE_SLOTS) / nonZeros)
  let shift = 0
  while (ratio >= TOP_THRESHOLD * 2 ** shift) shift++
  const scaled = Math.floor(ratio / 2 ** shift)
  let step = 0
  while (scaled >= THRESHOLDS[step + 1]!) step++
  return { table: shift === 0 ? step : DIRECT_TABLES + step - SHIFTED_OCTAVE, shift }
}
