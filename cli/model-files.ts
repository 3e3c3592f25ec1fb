/** What a model folder needs beside its weights: configuration and tokenizer, taken over from the base. */
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { patchConfigJson } from '../merge/output-files.ts'
import type { ConfigPatch } from '../merge/plan-step.ts'

/** The names that transformers and sentence-transformers write; weights and everything unknown stay behind. */
const COPIED =
  /^(generation_config\.json|tokenizer.*|vocab.*|merges\.txt|special_tokens_map\.json|added_tokens\.json|chat_template.*|preprocessor_config\.json|sentencepiece.*|spiece\.model)$/

/** Copies them from a base that is a folder; a lone safetensors file has none. Returns the names. */
export async function copyModelFiles(base: string, out: string, patch: ConfigPatch): Promise<string[]> {
  if (!(await stat(base)).isDirectory()) return []
  const copied: string[] = []
  for (const name of (await readdir(base)).sort()) {
    if (name === 'config.json') {
      const text = await readFile(join(base, name), 'utf8')
      await writeFile(join(out, name), patchConfigJson(text, patch))
    } else if (COPIED.test(name)) {
      // Not copyFile, which would make a copy of a read-only file read-only too.
      await writeFile(join(out, name), await readFile(join(base, name)))
    } else continue
    copied.push(name)
  }
  return copied
}
