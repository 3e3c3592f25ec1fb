/** The randomness of the fuzzers: a case is a function of the run's seed, the target's name and its number. */
export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 0
  }

  /** 0 .. 2^32 - 1, by mulberry32. */
  word(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    const state = this.#state
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return (mixed ^ (mixed >>> 14)) >>> 0
  }

  /** 0 .. n - 1; 0 where n is 0. */
  below(n: number): number {
    return Math.floor((this.word() / 2 ** 32) * n)
  }

  /** low .. high, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  chance(share: number): boolean {
    return this.word() < share * 2 ** 32
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }

  bytes(n: number): Uint8Array {
    const bytes = new Uint8Array(n)
    for (let i = 0; i < n; i++) bytes[i] = this.word() >>> 24
    return bytes
  }

  /** Small numbers most often, and once in a while large ones: lengths of things to insert. */
  length(most: number): number {
    return Math.min(most, 1 + this.below(2 ** this.below(Math.ceil(Math.log2(most + 1)) + 1)))
  }
}

/** The seed of one case. Spread so that neighbouring cases have nothing in common (FNV-1a, then a finaliser). */
export function caseSeed(seed: number, target: string, index: number): number {
  let hash = 0x811c9dc5 ^ seed
  for (let i = 0; i < target.length; i++) hash = Math.imul(hash ^ target.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (index >>> 0), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13) ^ Math.floor(index / 2 ** 32), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

/** Numbers at which parsers change their mind. */
export const EDGES: readonly number[] = [
  0,
  1,
  2,
  3,
  7,
  8,
  63,
  64,
  65,
  127,
  128,
  255,
  256,
  1023,
  1024,
  1025,
  2 ** 15,
  2 ** 16 - 1,
  2 ** 16,
  2 ** 18 - 1,
  2 ** 18,
  2 ** 18 + 1,
  2 ** 20,
  2 ** 22,
  2 ** 22 + 1,
  2 ** 24,
  2 ** 26,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 34,
  2 ** 34 + 1,
  2 ** 53 - 1,
  2 ** 53,
]
