/** The seeded randomness of the test vectors: the same numbers on every machine (xorshift32, Marsaglia 2003). */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1
  }

  /** 0 .. 2^32 - 1. */
  word(): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x >>> 0
    return this.#state
  }

  /** [0, 1). */
  unit(): number {
    return this.word() / 2 ** 32
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.word() >>> 24)
  }

  /** One trit per entry of rows x cols; `density` gives the share of non-zeros of a row and column. */
  trits(rows: number, cols: number, density: (row: number, col: number) => number): Int8Array {
    const trits = new Int8Array(rows * cols)
    for (let i = 0; i < trits.length; i++) {
      if (this.unit() >= density(Math.floor(i / cols), i % cols)) continue
      trits[i] = this.word() & 1 ? 1 : -1
    }
    return trits
  }

  /** Positive values that bf16 holds exactly. */
  bf16(length: number): Float32Array {
    const bits = Uint32Array.from({ length }, () => (0x3c00 + (this.word() % 0x300)) << 16)
    return new Float32Array(bits.buffer)
  }

  /** Roughly normal weights: what a head or a norm looks like. */
  weights(length: number): Float32Array {
    return Float32Array.from({ length }, () => (this.unit() + this.unit() + this.unit() - 1.5) / 20)
  }
}
