import { describe, expect, test } from 'vitest'
import { progressMaker } from '../../../cli/progress.ts'

function output(isTTY: boolean) {
  const written: string[] = []
  return { isTTY, written, write: (text: string) => written.push(text) }
}

function run(isTTY: boolean, wanted: boolean | undefined): string[] {
  const target = output(isTTY)
  const progress = progressMaker(target, wanted)('work')
  for (let done = 0; done <= 100; done += 1) progress.update(done, 100)
  progress.finish()
  return target.written
}

describe('progress', () => {
  test('is silent where stderr is no terminal', () => {
    expect(run(false, undefined)).toEqual([])
  })

  test('is silent on a terminal when it was declined', () => {
    expect(run(true, false)).toEqual([])
  })

  test('writes a line per tenth into a file when it was asked for', () => {
    const lines = run(false, true)
    expect(lines).toHaveLength(11)
    expect(lines.at(-1)).toBe('work: 100 / 100\n')
  })

  test('redraws one line on a terminal and ends it with a line break', () => {
    const written = run(true, undefined)
    expect(written.slice(0, -1).every((text) => text.startsWith('\r'))).toBe(true)
    expect(written.at(-2)).toContain('100 / 100')
    expect(written.at(-1)).toBe('\n')
  })
})
