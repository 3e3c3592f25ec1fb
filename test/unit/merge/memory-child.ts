/** Merges models that are made up as they are read and prints the peak memory of the process in MiB. */

import { planMerge } from '../../../merge/plan.ts'
import { parseRecipe } from '../../../merge/recipe.ts'
import { runMerge } from '../../../merge/run-merge.ts'
import { fromF32 } from '../../../tensors/dtype.ts'
import type { TensorSink, TensorSource } from '../../../tensors/tensor.ts'

const ENTRIES = 1 << 19
const [method = 'ties', count = '4'] = process.argv.slice(2)

function endlessModel(seed: number): TensorSource {
  const tensors = Array.from({ length: Number(count) }, (_, i) => ({
    name: `layers.${i}.weight`,
    dtype: 'F32' as const,
    shape: [1024, ENTRIES / 1024],
  }))
  const read = async () => {
    const values = new Float32Array(ENTRIES)
    for (let i = 0; i < ENTRIES; i++) values[i] = Math.imul(i + seed, 0x9e3779b1) / 2 ** 31
    return values
  }
  return { tensors, metadata: {}, read, readBytes: async () => fromF32(await read(), 'F32') }
}

const sink: TensorSink = { begin: async () => {}, write: async () => {}, end: async () => {} }
const models = ['a', 'b', 'c'].map((model) => ({ model, parameters: { weight: 0.3, density: 0.2 } }))
const recipe = parseRecipe(JSON.stringify({ merge_method: method, base_model: 'base', models }), 'json')
const plan = await planMerge(recipe, async (ref) => ({
  ref,
  identity: ref,
  kind: 'model',
  source: endlessModel(ref.charCodeAt(0)),
}))
await runMerge(plan, sink)
process.stdout.write(String(process.resourceUsage().maxRSS / 1024))
