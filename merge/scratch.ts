/** Buffers that are used again for every tensor of a merge, so that memory follows the largest tensor. */
export class Scratch {
  private readonly buffers: Float32Array[] = []
  private readonly largest: number

  /** `largest`: entries of the largest tensor that will be asked for. Buffers are made when first used. */
  constructor(largest: number) {
    this.largest = largest
  }

  /** Buffer number `index`, zeroed, of `length` entries. What it held before is gone. */
  take(index: number, length: number): Float32Array {
    let buffer = this.buffers[index]
    if (!buffer) {
      buffer = new Float32Array(this.largest)
      this.buffers[index] = buffer
    }
    return buffer.subarray(0, length).fill(0)
  }
}
