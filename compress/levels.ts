/**
 * More than one magnitude per entry: kept entries are rounded to whole steps, and the number of steps is written in
 * balanced ternary, one layer of trits per digit, so that the first layers alone are the same tensor in larger steps
 * (ALGORITHM.md, "Layers").
 */
import type { ScalablePart } from './quantize.ts'
import { layerWorths, SIGN_BIT } from './quantized-tensor.ts'

/**
 * The smallest kept magnitude in steps. Above 0.5, plain rounding: what is small costs bits and brings little. Between
 * 0.55 and 0.65 the error of a LoRA's product at equal bytes changes by less than 0.2 percent.
 */
const DEAD_ZONE = 0.6

/** A step so small that the largest level is below this many root mean squares would only cut off what is large. */
const REACH_IN_RMS = 4

export interface Levels {
  /** Per kept entry, in the order of the positions: from 1 to maxLevel. */
  readonly levels: Uint16Array
  /** Sum of level^2, and of |tau| * level in ascending index, f64. */
  readonly squares: number
  readonly dot: number
}

/** The largest number that `layers` balanced ternary digits can say: 1, 4, 13, 40. */
export function maxLevel(layers: number): number {
  return (3 ** layers - 1) / 2
}

/** With one layer every level is 1. */
export function levelsOf(part: ScalablePart, layers: number): Levels {
  const { positions, magnitudes, threshold, moments, keptMagnitudes } = part
  const kept = positions.length
  if (layers === 1) return { levels: new Uint16Array(kept).fill(1), squares: kept, dot: keptMagnitudes }
  if (magnitudes === undefined) throw new Error(`${part.name}: ${layers} layers of entries without their magnitudes`)
  const most = maxLevel(layers)
  const smallestStep = (REACH_IN_RMS * Math.sqrt(moments.sumSquares / Math.max(1, moments.entries))) / most
  const step = Math.max(threshold / DEAD_ZONE, smallestStep)
  const levels = new Uint16Array(kept)
  let squares = 0
  let dot = 0
  for (let i = 0; i < kept; i++) {
    const magnitude = magnitudes[i] as number
    const level = Math.min(most, Math.max(1, Math.floor(magnitude / step + 1 - DEAD_ZONE)))
    levels[i] = level
    squares += level * level
    dot += magnitude * level
  }
  return { levels, squares, dot }
}

/** The layers of trits whose sum, each times its worth, is level times sign; the largest worth first. */
export function layersOf(positions: Uint32Array, levels: Uint16Array, layers: number): Uint32Array[] {
  if (layers === 1) return [positions]
  const rest = Int32Array.from(levels)
  return layerWorths(layers).map((worth) => {
    const below = (worth - 1) / 2
    const layer = new Uint32Array(positions.length)
    let count = 0
    for (let i = 0; i < rest.length; i++) {
      const value = rest[i] as number
      if (Math.abs(value) <= below) continue
      rest[i] = value - Math.sign(value) * worth
      layer[count++] = value > 0 ? (positions[i] as number) : ((positions[i] as number) ^ SIGN_BIT) >>> 0
    }
    return layer.slice(0, count)
  })
}
