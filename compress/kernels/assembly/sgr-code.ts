/**
 * Inner loops of the SGR codec: gaps to symbols and rANS, and back. The readable twin is codecs/sgr-reference.ts.
 * A stratum is described by four u32: entries, non-zeros, table, shift.
 */

const STATE_LOW: u32 = 0x10000;
const TABLE_BITS: u32 = 12;
const TABLE_SLOTS: u32 = 4096;
const INDEX: u32 = 0x7fffffff;

/** In a decode entry: symbol (63 for the escape) << 26 | frequency << 13 | slot - start. */
const ESCAPE_MARK: u32 = 63;
const FIELD: u32 = 0x1fff;
const SYMBOLS_PER_TABLE: u32 = 64;

/** What decodeStratum and finishDecoding return. Numbered like FAILURES in sgr-wasm.ts. */
const OK: u32 = 0;
const WORDS_MISSING: u32 = 1;
const ESCAPE_INVALID: u32 = 2;
const POSITION_PAST_END: u32 = 3;
const WORDS_LEFT: u32 = 4;
const ESCAPES_LEFT: u32 = 5;
const STATES_WRONG: u32 = 6;

/** 32 x 4096 u32 decode entries; 32 x 64 u32 of start | frequency << 16; 32 u32 with the escape symbol of a table. */
let decodeEntries: usize = 0;
let symbolRanges: usize = 0;
let escapeSymbols: usize = 0;

export function setTables(entries: usize, ranges: usize, escapes: usize): void {
  decodeEntries = entries;
  symbolRanges = ranges;
  escapeSymbols = escapes;
}

// ---- encoder ----

let symbolEnd: usize = 0;
let escapeEnd: usize = 0;
let rawAt: usize = 0;
let rawPending: u64 = 0;
let rawPendingBits: u64 = 0;

export function beginEncoding(symbols: usize, escapes: usize, raw: usize): void {
  symbolEnd = symbols;
  escapeEnd = escapes;
  rawAt = raw;
  rawPending = 0;
  rawPendingBits = 0;
}

/** Appends one stratum (`indices` ascending, with sign) to the symbols (u16: table * 64 + symbol), escapes and raw bits. */
export function encodeStratum(stratum: usize, indices: usize): void {
  const nonZeros = load<u32>(stratum, 4);
  const table = load<u32>(stratum, 8);
  const shift = load<u32>(stratum, 12);
  const lowMask: u32 = (1 << shift) - 1;
  const escapeSymbol = load<u32>(escapeSymbols + (<usize>table << 2));
  let previous: u32 = -1;
  let at = symbolEnd;
  let pending = rawPending;
  let pendingBits = rawPendingBits;
  let raw = rawAt;
  const end = indices + (<usize>nonZeros << 2);
  for (let p = indices; p < end; p += 4) {
    const entry = load<u32>(p);
    const index = entry & INDEX;
    const gap = index - previous - 1;
    previous = index;
    pending |= <u64>((entry >> 31) | ((gap & lowMask) << 1)) << pendingBits;
    pendingBits += shift + 1;
    if (pendingBits >= 32) {
      store<u32>(raw, <u32>pending);
      raw += 4;
      pending >>= 32;
      pendingBits -= 32;
    }
    let symbol = gap >> shift;
    if (symbol >= escapeSymbol) {
      writeEscape(symbol);
      symbol = escapeSymbol;
    }
    store<u16>(at, table * SYMBOLS_PER_TABLE + symbol);
    at += 2;
  }
  symbolEnd = at;
  rawAt = raw;
  rawPending = pending;
  rawPendingBits = pendingBits;
}

function writeEscape(value: u32): void {
  for (; value >= 0x80; value >>= 7) store<u8>(escapeEnd++, value | 0x80);
  store<u8>(escapeEnd++, value);
}

/** Writes the last raw bits; returns the end of the raw section. The ends of the others are read with the getters. */
export function finishStrata(): usize {
  for (; rawPendingBits > 0; rawPendingBits -= min<u64>(8, rawPendingBits)) {
    store<u8>(rawAt++, <u8>rawPending);
    rawPending >>= 8;
  }
  return rawAt;
}

export function endOfEscapes(): usize {
  return escapeEnd;
}

/**
 * Codes the symbols, last first, into 16-bit words that end at `end`, with the two final states in front.
 * Returns where the section begins.
 */
export function encodeSymbols(symbols: usize, end: usize): usize {
  let words = end;
  let state: u32 = STATE_LOW; // of the symbol at hand
  let other: u32 = STATE_LOW;
  for (let p = symbolEnd; p > symbols; ) {
    p -= 2;
    const range = load<u32>(symbolRanges + (<usize>load<u16>(p) << 2));
    const start = range & 0xffff;
    const frequency = range >> 16;
    let x = state;
    if (<u64>x >= <u64>frequency << (32 - TABLE_BITS)) {
      words -= 2;
      store<u16>(words, x);
      x >>= 16;
    }
    const quotient = x / frequency;
    state = other;
    other = (quotient << TABLE_BITS) + (x - quotient * frequency) + start;
  }
  words -= 8;
  store<u32>(words, other); // symbol 0 came last, so this is the state of the even symbols
  store<u32>(words, state, 4);
  return words;
}

// ---- decoder ----

let stateNow: u32 = 0;
let stateNext: u32 = 0;
let wordAt: usize = 0;
let wordEnd: usize = 0;
let escapeAt: usize = 0;
let escapeLimit: usize = 0;
let rawStart: usize = 0;
let rawBit: usize = 0;

/** The raw section must hold all bits that the strata ask for, with 8 readable bytes after it: the caller checks. */
export function beginDecoding(rans: usize, ransEnd: usize, escapes: usize, escapesEnd: usize, raw: usize): u32 {
  stateNow = load<u32>(rans);
  stateNext = load<u32>(rans, 4);
  wordAt = rans + 8;
  wordEnd = ransEnd;
  escapeAt = escapes;
  escapeLimit = escapesEnd;
  rawStart = raw;
  rawBit = 0;
  return stateNow < STATE_LOW || stateNext < STATE_LOW ? STATES_WRONG : OK;
}

/**
 * Writes the indices of a stratum, ascending, with sign. Whether a symbol takes a word is a coin toss to the processor,
 * so the loop has no branch for it and reads on when the words are used up, at most two bytes per non-zero, which the
 * caller keeps readable; that it did is seen at the end.
 */
export function decodeStratum(stratum: usize, out: usize): u32 {
  const cells = load<u32>(stratum);
  const nonZeros = load<u32>(stratum, 4);
  const entries = decodeEntries + (<usize>load<u32>(stratum, 8) << (TABLE_BITS + 2));
  const escapeSymbol = load<u32>(escapeSymbols + (<usize>load<u32>(stratum, 8) << 2));
  const shift = load<u32>(stratum, 12);
  const lowMask: u32 = (1 << shift) - 1;
  let now = stateNow;
  let next = stateNext;
  let words = wordAt;
  const wordsEnd = wordEnd;
  let bit = rawBit;
  const raw = rawStart;
  let index: u32 = -1;
  const end = out + (<usize>nonZeros << 2);
  for (let target = out; target < end; target += 4) {
    const entry = load<u32>(entries + (<usize>(now & (TABLE_SLOTS - 1)) << 2));
    let state = ((entry >> 13) & FIELD) * (now >> TABLE_BITS) + (entry & FIELD);
    const low = state < STATE_LOW;
    state = select<u32>((state << 16) | <u32>load<u16>(words), state, low);
    words += <usize>low << 1;
    now = next;
    next = state;
    let high = entry >> 26;
    if (high == ESCAPE_MARK) {
      const value = readEscape();
      if (value < <u64>escapeSymbol) return ESCAPE_INVALID;
      if (value > <u64>(cells >> shift)) return value == NO_ESCAPE ? ESCAPE_INVALID : POSITION_PAST_END;
      high = <u32>value;
    }
    const field = <u32>(load<u64>(raw + (bit >> 3)) >> (bit & 7));
    bit += shift + 1;
    index += ((high << shift) | ((field >> 1) & lowMask)) + 1;
    if (index >= cells) return POSITION_PAST_END;
    store<u32>(target, index | (field << 31));
  }
  if (words > wordsEnd) return WORDS_MISSING;
  stateNow = now;
  stateNext = next;
  wordAt = words;
  rawBit = bit;
  return OK;
}

const NO_ESCAPE: u64 = u64.MAX_VALUE;

/** A varint of at most 32 bits in its shortest form, or NO_ESCAPE. */
function readEscape(): u64 {
  let value: u64 = 0;
  for (let shift: u64 = 0; shift < 35; shift += 7) {
    if (escapeAt >= escapeLimit) return NO_ESCAPE;
    const byte = <u64>load<u8>(escapeAt++);
    value |= (byte & 0x7f) << shift;
    if (byte >= 0x80) continue;
    return (byte == 0 && shift > 0) || value > <u64>u32.MAX_VALUE ? NO_ESCAPE : value;
  }
  return NO_ESCAPE;
}

export function finishDecoding(): u32 {
  if (wordAt != wordEnd) return WORDS_LEFT;
  if (escapeAt != escapeLimit) return ESCAPES_LEFT;
  return stateNow != STATE_LOW || stateNext != STATE_LOW ? STATES_WRONG : OK;
}

