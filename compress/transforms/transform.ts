/** The lossless changes of coordinates of a LoRA module that `transform` names. */
import type { Transform } from '../options.ts'
import { balance } from './balance.ts'
import type { LoraFactors } from './lora-factors.ts'
import { effectFactors, svdGauge } from './svd.ts'

const TRANSFORMS: Readonly<Record<Transform, (factors: LoraFactors) => LoraFactors>> = {
  none: (factors) => factors,
  balance,
  svd: svdGauge,
  effect: effectFactors,
}

/** The same product B A up to f32 rounding, in other factors of the same shapes (with `weights` where there are any). */
export function transformFactors(factors: LoraFactors, transform: Transform): LoraFactors {
  return TRANSFORMS[transform](factors)
}
