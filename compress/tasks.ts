/**
 * The work that can run in another thread: plain functions of plain data, one table for the inline executor and the
 * worker pool. Inputs say where tensors lie, not what is in them; outputs are small or transferable.
 */

import { checkedCodec } from './checked-codec.ts'
import { codecByName } from './codecs/codec-table.ts'
import type { EncodePart } from './codecs/trit-codec.ts'
import { kernels } from './kernels/default.ts'
import { tauKernels } from './kernels/tau-wasm.ts'
import { openTauPieces, type TauPieces } from './node/tau-pieces.ts'
import { readTau } from './node/tau-reader.ts'
import type { CodecName, Transform } from './options.ts'
import { type QuantizedPart, type QuantizeRules, withTensorScale } from './quantize.ts'
import { type ProductStats, quantizePair } from './quantize-pair.ts'
import { momentsOfLanes, refuse, selectPieces } from './select-pieces.ts'
import { type Moments, momentsOf } from './statistics.ts'
import type { PairUnit, TauTensor, Unit } from './task-vector.ts'
import { compactCounts, HIGH_BINS, LOW_BINS, type LowCounts } from './threshold.ts'
import type { LoraFactors } from './transforms/lora-factors.ts'
import { transformFactors } from './transforms/transform.ts'

export const TASKS = { measureUnit, countUnit, quantizeUnit, encodeFrame }

interface UnitTask {
  readonly unit: Unit
  readonly transform: Transform
}

export interface UnitMeasure {
  /** Per tensor of the unit. */
  readonly moments: readonly Moments[]
  /** Histogram of bits 30..16 of |tau|, all tensors of the unit together. */
  readonly high: Uint32Array
}

/** Pass 1 of a global threshold. Throws NOT_FINITE. */
async function measureUnit({ unit, transform }: UnitTask): Promise<UnitMeasure> {
  const high = new Uint32Array(HIGH_BINS)
  if (unit.kind === 'tensor') return { moments: [await measurePieces(unit.tensor, high)], high }
  const moments: Moments[] = []
  for (const { name, tau } of await loadUnit(unit, transform)) {
    moments.push(momentsOf(tau, name))
    kernels().histogramHigh(tau, high)
  }
  return { moments, high }
}

async function measurePieces(tensor: TauTensor, high: Uint32Array): Promise<Moments> {
  const lanes = new Float64Array(12)
  return withPieces(tensor, async (pieces) => {
    for await (const piece of pieces.all()) refuse(tensor.name, tauKernels().measure(piece, lanes, high))
    return momentsOfLanes(pieces.entries, lanes)
  })
}

/** Closes the files whatever happens. */
async function withPieces<T>(tensor: TauTensor, use: (pieces: TauPieces) => Promise<T>): Promise<T> {
  const pieces = await openTauPieces(tensor)
  try {
    return await use(pieces)
  } finally {
    await pieces.close()
  }
}

export interface UnitCounts {
  /** Per tensor of the unit: histogram of bits 15..0 of those |tau| that lie in the chosen high bin. */
  readonly low: readonly LowCounts[]
  /** Per tensor of the unit, where asked for (else 0): sum of the |tau| in higher bins, f64, ascending index. */
  readonly magnitudesAbove: readonly number[]
}

/** Pass 2 of a global threshold. */
async function countUnit({
  unit,
  transform,
  bin,
  magnitudes,
}: UnitTask & { readonly bin: number; readonly magnitudes: boolean }): Promise<UnitCounts> {
  if (unit.kind === 'tensor' && !magnitudes) {
    const counts = new Uint32Array(LOW_BINS)
    await withPieces(unit.tensor, async (pieces) => {
      for await (const piece of pieces.all()) tauKernels().histogramLow(piece, bin, counts)
    })
    return { low: [compactCounts(counts)], magnitudesAbove: [0] }
  }
  const low: LowCounts[] = []
  const magnitudesAbove: number[] = []
  for (const { tau } of await loadUnit(unit, transform)) {
    const counts = new Uint32Array(LOW_BINS)
    kernels().histogramLow(tau, bin, counts)
    low.push(compactCounts(counts))
    magnitudesAbove.push(magnitudes ? sumAbove(tau, bin) : 0)
  }
  return { low, magnitudesAbove }
}

function sumAbove(tau: Float32Array, bin: number): number {
  const bits = new Uint32Array(tau.buffer, tau.byteOffset, tau.length)
  const first = (bin + 1) * LOW_BINS
  let sum = 0
  for (let i = 0; i < tau.length; i++) {
    if (((bits[i] as number) & 0x7fff_ffff) >= first) sum += Math.abs(tau[i] as number)
  }
  return sum
}

export interface UnitOutcome {
  /** Per tensor of the unit. */
  readonly parts: readonly QuantizedPart[]
  /** Of a LoRA module. */
  readonly product: ProductStats | null
}

/** The lossy step of one unit. Throws NOT_FINITE. */
async function quantizeUnit({
  unit,
  transform,
  rules,
}: UnitTask & { readonly rules: QuantizeRules }): Promise<UnitOutcome> {
  if (unit.kind === 'tensor') {
    const { name, location } = unit.tensor
    const part = await withPieces(unit.tensor, (pieces) => selectPieces(name, pieces, rules.mask, 0, rules.layers))
    return { parts: [withTensorScale(part, location.shape, rules)], product: null }
  }
  const original = await loadFactors(unit)
  const names = { module: unit.module, a: unit.a.name, b: unit.b.name }
  const { a, b, product } = quantizePair(names, original, transformFactors(original, transform), rules)
  return { parts: [a, b], product }
}

/** One frame of trits to bytes, decoded again and compared before they are handed on. */
async function encodeFrame(input: {
  readonly codec: CodecName
  readonly parts: readonly EncodePart[]
}): Promise<Uint8Array> {
  return checkedCodec(codecByName(input.codec)).encodeFrame(input.parts)
}

async function loadUnit(unit: Unit, transform: Transform): Promise<{ name: string; tau: Float32Array }[]> {
  if (unit.kind === 'tensor') return [{ name: unit.tensor.name, tau: await readTau(unit.tensor) }]
  const { a, b } = transformFactors(await loadFactors(unit), transform)
  return [
    { name: unit.a.name, tau: a },
    { name: unit.b.name, tau: b },
  ]
}

/** Both factors as the adapter holds them. NOT_FINITE is raised here, where an index still means the user's file. */
async function loadFactors({ rank, inFeatures, outFeatures, a, b }: PairUnit): Promise<LoraFactors> {
  const factors = { rank, inFeatures, outFeatures, a: await readTau(a), b: await readTau(b) }
  momentsOf(factors.a, a.name)
  momentsOf(factors.b, b.name)
  return factors
}
