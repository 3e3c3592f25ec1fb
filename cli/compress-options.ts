/** The options of the lossy step, the same for `compress` (here) and `push` (sent to the server). */
import { type Command, Option } from 'commander'
import { CODECS, SCALES, SCOPES, TRANSFORMS } from '../compress/options.ts'
import { PRESETS } from '../compress/presets.ts'

/** As typed: checking is the work of compress/options.ts, here or in the server, so that both say the same. */
export interface CompressFlags {
  readonly preset?: string
  readonly density?: string
  readonly alpha?: string
  readonly scope?: string
  readonly scale?: string
  readonly transform?: string
  readonly layers?: string
  readonly gain?: string
  readonly include?: readonly string[]
  readonly exclude?: readonly string[]
  readonly codec?: string
  readonly strict?: boolean
}

const collect = (value: string, before: readonly string[] = []) => [...before, value]

export function addCompressOptions(command: Command): Command {
  const choice = (flags: string, description: string, values: readonly string[]) =>
    new Option(flags, description).choices(values)
  return command
    .addOption(choice('--preset <name>', 'settings to start from', PRESETS))
    .option('--density <share>', 'entries to keep, in (0, 1]')
    .option('--alpha <factor>', "ComPEFT's multiplier of sigma; implies --scale std --transform none")
    .addOption(choice('--scope <scope>', 'one threshold for all tensors, or one for each', SCOPES))
    .addOption(choice('--scale <rule>', 'how magnitudes are chosen', SCALES))
    .addOption(choice('--transform <name>', 'change of coordinates of LoRA factors', TRANSFORMS))
    .option('--layers <count>', 'layers of trits, 1 to 4: more magnitudes per entry')
    .option('--gain <factor>', 'factor on every magnitude when reading')
    .option('--include <pattern>', 'compress tensors that the rules leave out (repeatable)', collect)
    .option('--exclude <pattern>', 'keep tensors losslessly (repeatable)', collect)
    .addOption(choice('--codec <name>', 'how trits become bytes', CODECS))
    .option('--strict', 'refuse what would otherwise only be a warning')
}

/** The options that were given, under the names of compress/options.ts and of the API, which are the same. */
export function givenOptions(flags: CompressFlags): Record<string, string | readonly string[]> {
  const { preset, density, alpha, scope, scale, transform, layers, gain, include, exclude, codec, strict } = flags
  const all = { preset, density, alpha, scope, scale, transform, layers, gain, include, exclude, codec }
  const given = Object.entries(all).filter((entry): entry is [string, string | readonly string[]] => !!entry[1])
  return Object.fromEntries(strict ? [...given, ['strict', 'true']] : given)
}
