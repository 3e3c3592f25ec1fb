import { describe, expect, it } from 'vitest'
import { compareNames } from '../../../tensors/compare-names.ts'

describe('the order of names', () => {
  it('is that of code points, where UTF-16 units would put an emoji before a full-width letter', () => {
    const names = ['\u{1f600}', '\uff5e', 'b', 'a.10', 'a.2', 'a', 'Z', '\ud7ff', '\ue000', '']
    expect(names.toSorted(compareNames)).toEqual([
      '',
      'Z',
      'a',
      'a.10',
      'a.2',
      'b',
      '\ud7ff',
      '\ue000',
      '\uff5e',
      '\u{1f600}',
    ])
  })

  it('calls equal names equal', () => {
    expect(compareNames('a\u{1f600}', 'a\u{1f600}')).toBe(0)
  })
})
