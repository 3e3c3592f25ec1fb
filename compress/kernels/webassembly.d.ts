/** The part of the WebAssembly API that wasm-heap.ts uses; the `es` libraries of TypeScript leave it to the DOM's. */
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array)
  }
  class Instance {
    constructor(module: Module, imports: Record<string, Record<string, unknown>>)
    readonly exports: Record<string, unknown>
  }
  class Memory {
    private constructor()
    readonly buffer: ArrayBuffer
    /** Pages of 64 KiB; returns the number before. Detaches `buffer`. */
    grow(pages: number): number
  }
  function validate(bytes: Uint8Array): boolean
}
