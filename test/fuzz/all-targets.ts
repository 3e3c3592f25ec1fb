/** Every target, by name. */
import { containerTarget } from './container-target.ts'
import { framesTarget } from './frames-target.ts'
import { fileTarget, headerTarget } from './safetensors-targets.ts'
import type { Target } from './target.ts'
import { adapterConfigTarget, recipeTarget, shardIndexTarget, strictJsonTarget } from './text-targets.ts'
import { zstdTarget } from './zstd-target.ts'

export const TARGETS: readonly Target[] = [
  containerTarget,
  framesTarget,
  headerTarget,
  fileTarget,
  strictJsonTarget,
  adapterConfigTarget,
  shardIndexTarget,
  recipeTarget,
  zstdTarget,
]
