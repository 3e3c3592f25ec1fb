import { describe, expect, test } from 'vitest'
import { wasmHeap } from '../../../../compress/kernels/wasm-heap.ts'

describe('the heap of the WebAssembly module', () => {
  const heap = wasmHeap()!

  test('is one per thread', () => {
    expect(wasmHeap()).toBe(heap)
  })

  test('hands out aligned blocks that do not overlap, with room between them', () => {
    heap.release()
    const first = heap.take(5)
    const second = heap.take(7)
    expect([first % 16, second % 16]).toEqual([0, 0])
    expect(second - first).toBeGreaterThanOrEqual(5 + 64)
  })

  test('gives the same addresses again after release, except those that are kept', () => {
    heap.release()
    const before = heap.take(100)
    const kept = heap.keep(100)
    expect(kept).toBe(before)
    expect(heap.take(100)).toBeGreaterThan(kept)
  })

  test('grows to hold what is asked for, and keeps its contents', () => {
    heap.release()
    const small = heap.take(4)
    heap.write(small, Uint8Array.of(1, 2, 3, 4))
    const large = heap.take(9 * 2 ** 20)
    heap.write(large + 9 * 2 ** 20 - 1, Uint8Array.of(7))
    expect([...heap.bytes(small, 4)]).toEqual([1, 2, 3, 4])
    expect(heap.bytes(large, 9 * 2 ** 20)[9 * 2 ** 20 - 1]).toBe(7)
  })

  test('refuses to grow past its bound', () => {
    heap.release()
    expect(() => heap.take(2 ** 26)).toThrow('kernel heap')
  })
})
