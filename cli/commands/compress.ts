/** `tern compress`: a folder becomes a container on this machine. */
import { type Command, InvalidArgumentError } from 'commander'
import type { CompressFolderFlags } from '../compress-folder.ts'
import { addCompressOptions } from '../compress-options.ts'
import { type Context, startRun } from '../context.ts'

export function registerCompress(program: Command, context: Context): void {
  const command = program
    .command('compress')
    .description('compress a LoRA, (IA)3 or full fine-tune into one .tern file, without a server')
    .argument('<dir>', 'folder with adapter_config.json and adapter_model.safetensors, or with model.safetensors')
    .argument('<out.tern>', 'file to write')
    .option('--base <dir>', 'the base model; needed for a full fine-tune')
    .option('--threads <n>', 'threads that compress (default: one per core)', positiveInteger)
    .option('--force', 'replace the file if it exists')
  addCompressOptions(command).action(async (dir: string, out: string, flags: CompressFolderFlags, self: Command) => {
    const { compressFolder } = await import('../compress-folder.ts')
    await compressFolder(dir, out, flags, startRun(context, self))
  })
}

export function positiveInteger(text: string): number {
  if (!/^[1-9]\d{0,2}$/.test(text)) throw new InvalidArgumentError('a whole number from 1 to 999 is expected.')
  return Number(text)
}
