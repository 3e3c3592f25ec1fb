/**
 * The WebAssembly module behind wasm.ts and codecs/sgr-wasm.ts, in AssemblyScript. Functions work on addresses in
 * linear memory, which compress/kernels/wasm-heap.ts hands out: 16-byte aligned, with padding after each block.
 * Built by scripts/build-wasm.mjs.
 */
export { narrowBf16, narrowF16, widenBf16, widenF16 } from "./convert";
export { axpy, matmulAdd, subtract } from "./arithmetic";
export { collect, histogramHigh, histogramLow, joinHighTables, marginals, moments, select, setTies } from "./statistics";
export {
  beginDecoding, beginEncoding, decodeStratum, encodeStratum, encodeSymbols, endOfEscapes, finishDecoding, finishStrata,
  setTables,
} from "./sgr-code";
export { groupByClass, markStratum, planesToPositions, splitPart } from "./sgr-strata";
export { applyTrits, fill16, fill32, groupsOfRun, placeStratum, quieten16 } from "./trit-values";

/** First address that is free for the heap. */
export function heapBase(): usize {
  return __heap_base;
}
