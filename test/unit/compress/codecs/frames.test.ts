import { describe, expect, test } from 'vitest'
import { FRAME_CELLS, planFrames } from '../../../../compress/codecs/frames.ts'

describe('frames', () => {
  test('hold as many whole small tensors as fit', () => {
    const shapes = Array.from({ length: 5 }, () => ({ rows: 256, cols: 512 }))
    expect(planFrames(shapes).map((frame) => frame.map(({ tensor }) => tensor))).toEqual([[0, 1], [2, 3], [4]])
  })

  test('cut a large tensor between rows and begin the next one in the room that is left', () => {
    const frames = planFrames([
      { rows: 300, cols: 1000 },
      { rows: 400, cols: 1000 },
    ])
    expect(frames).toEqual([
      [{ tensor: 0, start: 0, cells: 262000 }],
      [
        { tensor: 0, start: 262000, cells: 38000 },
        { tensor: 1, start: 0, cells: 224000 },
      ],
      [{ tensor: 1, start: 224000, cells: 176000 }],
    ])
  })

  test('cut a row that is longer than a frame anywhere', () => {
    const frames = planFrames([{ rows: 1, cols: FRAME_CELLS + 10 }])
    expect(frames.flat().map(({ start, cells }) => [start, cells])).toEqual([
      [0, FRAME_CELLS],
      [FRAME_CELLS, 10],
    ])
  })

  test('leave out tensors without entries', () => {
    expect(planFrames([{ rows: 0, cols: 7 }])).toEqual([])
  })
})
