/** Named settings. `balanced` is the default; docs/results.md has what each keeps and costs. `paper` is ComPEFT. */
import type { CompressOptions, ExpertKind } from './options.ts'

export const PRESETS = ['balanced', 'small', 'faithful', 'paper'] as const
export type Preset = (typeof PRESETS)[number]

/** What a preset decides; everything else has one default for all. */
export type PresetValues = Pick<CompressOptions, 'density' | 'alpha' | 'scope' | 'scale' | 'transform' | 'layers'>

/** One vector, one threshold, one sigma: arXiv 2311.13171, section 2. The same for every kind of expert. */
const PAPER: PresetValues = { density: 0.1, alpha: 1, scope: 'global', scale: 'std', transform: 'none', layers: 1 }

/**
 * LoRA: one threshold over all entries, each counted by its effect on the product, and 13 magnitudes: the entries of
 * the large components need them. Scales between least squares and the kept norm: the norm makes up for the lost angle,
 * but the last of it makes a classifier surer than it is right.
 */
const LORA = { alpha: null, scope: 'global', scale: 'between', transform: 'effect', layers: 3 } as const
/** Full: a global threshold gives more entries to the tensors that moved more. */
const FULL = { alpha: null, scope: 'global', scale: 'norm', transform: 'none' } as const
/** (IA)3: a few thousand parameters; bits are cheap. */
const IA3 = { alpha: null, scope: 'global', scale: 'norm', transform: 'none' } as const

type Named = Exclude<Preset, 'paper'>

/** Densities: about 28, 20 and 16 times smaller than f16 for a LoRA; 45, 28 and 17 times for a full fine-tune. */
const VALUES: Readonly<Record<ExpertKind, Readonly<Record<Named, PresetValues>>>> = {
  lora: {
    small: { ...LORA, density: 0.118 },
    balanced: { ...LORA, density: 0.17 },
    faithful: { ...LORA, density: 0.22 },
  },
  full: {
    small: { ...FULL, density: 0.05, layers: 1 },
    balanced: { ...FULL, density: 0.1, layers: 1 },
    faithful: { ...FULL, density: 0.2, layers: 1 },
  },
  ia3: {
    small: { ...IA3, density: 0.1, layers: 1 },
    balanced: { ...IA3, density: 0.2, layers: 1 },
    faithful: { ...IA3, density: 0.4, layers: 2 },
  },
}

export function presetValues(preset: Preset, kind: ExpertKind): PresetValues {
  return preset === 'paper' ? PAPER : VALUES[kind][preset]
}
