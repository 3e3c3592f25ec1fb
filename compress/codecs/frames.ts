/** Frames: the unit of threads and of random access. FORMAT.md, "Frames". */
export const FRAME_CELLS = 2 ** 18

export interface FrameSlice {
  /** Index of the tensor in the list given to planFrames. */
  readonly tensor: number
  /** First flat index, and how many entries. */
  readonly start: number
  readonly cells: number
}

/**
 * Cuts tensors, in order, into frames of at most FRAME_CELLS entries: whole rows of one tensor, or as many whole small
 * tensors (or leading rows of the next) as fit. A row longer than a frame is cut flat. A tensor without entries gets
 * no slice. Depends on the shapes alone, so the container stores no frame boundaries.
 */
export function planFrames(shapes: readonly { readonly rows: number; readonly cols: number }[]): FrameSlice[][] {
  const frames: FrameSlice[][] = []
  let open: FrameSlice[] = []
  let room = FRAME_CELLS
  const close = () => {
    if (open.length > 0) frames.push(open)
    open = []
    room = FRAME_CELLS
  }
  shapes.forEach(({ rows, cols }, tensor) => {
    const total = rows * cols
    let start = 0
    while (start < total) {
      const cells = nextCut(total - start, cols, room)
      if (cells === 0) {
        close()
        continue
      }
      open.push({ tensor, start, cells })
      start += cells
      room -= cells
    }
  })
  close()
  return frames
}

/** Entries of the next slice: as many whole rows as fit in `room`; 0 asks for a fresh frame. */
function nextCut(left: number, cols: number, room: number): number {
  if (cols > FRAME_CELLS) return Math.min(left, room)
  return Math.min(left, Math.floor(room / cols) * cols)
}
