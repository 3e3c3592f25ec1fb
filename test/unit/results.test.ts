/** What README.md claims about sizes is what bench/ratio.ts measured. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ROOT, readText, tableUnder } from './source-tree.ts'

type Row = Record<string, string>

function readCsv(path: string): Row[] {
  const [head = '', ...lines] = readFileSync(ROOT + path, 'utf8')
    .trim()
    .split('\n')
  const columns = head.split(',')
  return lines.map((line) => Object.fromEntries(line.split(',').map((cell, index) => [columns[index] ?? '', cell])))
}

const measured = readCsv('bench/results/ratio.csv')

test('the table of the README repeats the measured sizes', () => {
  const shown = tableUnder(readText('README.md'), 'Results so far')
  expect(shown.length).toBeGreaterThan(3)
  for (const [expert, density, ...numbers] of shown) {
    const row = measured.find(
      (one) => one.expert === expert && one.density === density && one.codec === 'sgr' && one.preset === 'plain',
    )
    const columns = ['file_bytes', 'trits_bytes', 'golomb_bytes', 'trits_bits_per_entry', 'bound_bits_per_entry']
    expect(numbers, `${expert} ${density}`).toEqual(columns.map((column) => row?.[column]))
  }
})

test('on every real adapter the default codec is below Rice, Golomb and the bound', () => {
  const sgr = measured.filter((one) => one.codec === 'sgr')
  expect(sgr.length).toBeGreaterThan(20)
  for (const row of sgr) {
    const rice = measured.find(
      (one) => one.codec === 'rice' && (['expert', 'preset', 'density'] as const).every((key) => one[key] === row[key]),
    )
    const name = `${row.expert} ${row.preset} ${row.density}`
    expect(Number(row.trits_bytes), name).toBeLessThan(Number(rice?.trits_bytes))
    expect(Number(row.trits_bytes), name).toBeLessThan(Number(row.golomb_bytes))
    expect(Number(row.trits_to_bound), name).toBeLessThan(1)
  }
})
