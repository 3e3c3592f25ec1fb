/** Named settings. `default` is what the measurements in docs/decisions/0004-defaults.md speak for; `paper` is ComPEFT. */
import type { CompressOptions, ExpertKind } from './options.ts'

export const PRESETS = ['default', 'paper'] as const
export type Preset = (typeof PRESETS)[number]

/** What a preset decides; everything else has one default for all. */
export type PresetValues = Pick<CompressOptions, 'density' | 'alpha' | 'scope' | 'scale' | 'transform'>

/** One vector, one threshold, one sigma: arXiv 2311.13171, section 2. The same for every kind of expert. */
const PAPER: PresetValues = { density: 0.1, alpha: 1, scope: 'global', scale: 'std', transform: 'none' }

const DEFAULTS: Readonly<Record<ExpertKind, PresetValues>> = {
  // A global threshold on raw factors keeps A's random start and zeroes B: hence the gauge and a threshold per tensor.
  lora: { density: 0.1, alpha: null, scope: 'tensor', scale: 'norm', transform: 'svd' },
  // A global threshold gives more entries to the tensors that moved more.
  full: { density: 0.1, alpha: null, scope: 'global', scale: 'norm', transform: 'none' },
  // A few thousand parameters: bits are cheap.
  ia3: { density: 0.2, alpha: null, scope: 'global', scale: 'norm', transform: 'none' },
}

export function presetValues(preset: Preset, kind: ExpertKind): PresetValues {
  return preset === 'paper' ? PAPER : DEFAULTS[kind]
}
