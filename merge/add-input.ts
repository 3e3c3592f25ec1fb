/** Adds one input's share of a tensor to an accumulator: its difference to the base, or its own value. */

import type { Part } from './contribution.ts'
import { addProduct, readFactors } from './low-rank.ts'

/**
 * acc += weight * delta, in f32, the difference and the product each rounded. `base` holds the base's values. A
 * sparse source adds only its non-zeros.
 */
export async function addDifference(
  acc: Float32Array,
  parts: readonly Part[],
  base: Float32Array,
  weight: number,
  signal?: AbortSignal,
): Promise<void> {
  for (const part of parts) {
    signal?.throwIfAborted()
    if (part.kind === 'full') {
      addFullDifference(acc, await part.source.read(part.info.name, signal), base, Math.fround(weight))
    } else await addPart(acc, part, weight, signal)
  }
}

/** acc += weight * value, where the value is the input's own tensor, or the base's, plus the input's differences. */
export async function addValue(
  acc: Float32Array,
  parts: readonly Part[],
  base: Float32Array | undefined,
  weight: number,
  signal?: AbortSignal,
): Promise<void> {
  const full = parts.find((part) => part.kind === 'full')
  const values = full ? await full.source.read(full.info.name, signal) : base
  if (!values) throw new Error('an input without a value of its own needs the base')
  addScaled(acc, values, Math.fround(weight))
  for (const part of parts) {
    signal?.throwIfAborted()
    if (part.kind !== 'full') await addPart(acc, part, weight, signal)
  }
}

/** acc += weight * values, the product rounded only as part of the sum (a fused multiply-add). */
export function addScaled(acc: Float32Array, values: Float32Array, weight: number): void {
  for (let i = 0; i < acc.length; i++) acc[i] = acc[i]! + weight * values[i]!
}

type ChangePart = Exclude<Part, { kind: 'full' }>

async function addPart(acc: Float32Array, part: ChangePart, weight: number, signal?: AbortSignal): Promise<void> {
  if (part.kind === 'low_rank') {
    addProduct(acc, await readFactors(part, signal), part.scaling, weight)
    return
  }
  const { source, info } = part
  if (source.addTo) await source.addTo(info.name, acc, Math.fround(weight), signal)
  else addRounded(acc, await source.read(info.name, signal), Math.fround(weight))
}

function addFullDifference(acc: Float32Array, values: Float32Array, base: Float32Array, weight: number): void {
  for (let i = 0; i < acc.length; i++) {
    acc[i] = acc[i]! + Math.fround(weight * Math.fround(values[i]! - base[i]!))
  }
}

/** acc += round(weight * values): the product and the sum are rounded one after the other. */
export function addRounded(acc: Float32Array, values: Float32Array, weight: number): void {
  for (let i = 0; i < acc.length; i++) acc[i] = acc[i]! + Math.fround(weight * values[i]!)
}
