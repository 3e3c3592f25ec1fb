/** `tern decompress`: a container becomes a folder that PEFT or transformers loads. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { type Context, startRun } from '../context.ts'
import type { DecompressFlags } from '../decompress-file.ts'
import { DTYPE_NAMES } from '../dtype-names.ts'

export function registerDecompress(program: Command, context: Context): void {
  program
    .command('decompress')
    .description('turn a .tern file into a folder that peft or transformers loads, without a server')
    .argument('<file.tern>', 'container')
    .argument('<dir>', 'folder to write into')
    .option('--base <dir>', 'the base model; needed for a full fine-tune')
    .addOption(
      new Option('--dtype <name>', 'dtype of the weights (default: as they were)').choices(Object.keys(DTYPE_NAMES)),
    )
    .option('--gain <factor>', 'factor on every magnitude', positiveNumber)
    .option('--force', 'replace files that exist')
    .action(async (file: string, dir: string, flags: DecompressFlags, self: Command) => {
      const { decompressFile } = await import('../decompress-file.ts')
      await decompressFile(file, dir, flags, startRun(context, self))
    })
}

function positiveNumber(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !(value > 0) || value > 1e4)
    throw new InvalidArgumentError('a number in (0, 10000] is expected.')
  return value
}
