/** Small files that claim as much as they can: each pushes one limit of FORMAT.md, section 12, from its inside. */
import { seal } from './container-mutator.ts'

export interface Bomb {
  readonly name: string
  readonly file: Uint8Array
}

const HEAD = '"kind":"lora","origin":"zero","codec":2'
const NO_COLUMNS = '"shared":[],"names":[],"types":[],"type":[]'

export function bombs(): Bomb[] {
  return [
    bomb('four million numbers', `{${HEAD},"options":{"a":[${zeros(2 ** 22 - 20)}]},${NO_COLUMNS}}`),
    bomb('four million empty objects', `{${HEAD},"options":{"a":[${list('{}', 2 ** 22 - 20)}]},${NO_COLUMNS}}`),
    bomb('four million empty arrays', `{${HEAD},"options":{"a":[${list('[]', 2 ** 22 - 20)}]},${NO_COLUMNS}}`),
    bomb('numbers that are kept as written', `{${HEAD},"options":{"a":[${list('-0', 2 ** 22 - 20)}]},${NO_COLUMNS}}`),
    bomb('a text of 16 MB', `{${HEAD},"options":{"a":"${'x'.repeat(2 ** 24 - 200)}"},${NO_COLUMNS}}`),
    bomb('a key of 16 MB', `{"${'x'.repeat(2 ** 24 - 200)}":0,${HEAD},"options":{},${NO_COLUMNS}}`),
    bomb(
      'a dtype of 16 MB',
      `{${HEAD},"options":{},"shared":[],"names":[],"types":[["${'x'.repeat(2 ** 23)}",[],0,0]],"type":[]}`,
    ),
    bomb('two million frames', framesTable()),
    bomb('scales of 64 MB', scalesTable(), new Uint8Array(2 ** 26)),
    bomb('a quarter of a million tensors', tensorsTable('')),
    bomb('base names of 4 MB each', tensorsTable('x'.repeat(2 ** 22))),
    bomb(
      'half a million types',
      `{${HEAD},"options":{},"shared":[],"names":[],"types":[${list('["F32",[0],1,0]', 600_000)}],"type":[]}`,
    ),
  ]
}

function bomb(name: string, table: string, scales = new Uint8Array(0)): Bomb {
  return { name, file: seal(new TextEncoder().encode(table), scales, []) }
}

function list(item: string, count: number): string {
  return `${item},`.repeat(count).slice(0, -1)
}

function zeros(count: number): string {
  return list('0', count)
}

/** 250 tensors of 8191 frames each, of no bytes. */
function framesTable(): string {
  const frames = 250 * 8191
  const names = Array.from({ length: 250 }, (_, i) => `"${i}"`).join()
  const columns = `"shared":[${zeros(250)}],"names":[${names}],"types":[["F32",[8191,262144],1,0]],"type":[${zeros(250)}]`
  return `{${HEAD},"options":{},${columns},"frames":[${zeros(frames)}],"crcs":[${zeros(frames)}]}`
}

/** One tensor of 2^25 rows and no columns. */
function scalesTable(): string {
  return `{${HEAD},"options":{},"shared":[0],"names":["a"],"types":[["F32",[33554432,0],2,0]],"type":[0]}`
}

function tensorsTable(add: string): string {
  const count = 2 ** 18
  const names = Array.from({ length: count }, (_, i) => `"${i.toString(36)}"`).join()
  const base = add === '' ? '' : `,"base_names":{"strip":"","add":"${add}"}`
  return `{${HEAD},"options":{}${base},"shared":[${zeros(count)}],"names":[${names}],"types":[["F32",[0],0,0]],"type":[${zeros(count)}]}`
}
