/** Progress of long work, on stderr only: a line that is redrawn on a terminal, or a line per tenth elsewhere. */
import { formatBytes } from './format.ts'

export interface Progress {
  update(done: number, total: number): void
  finish(): void
}

export interface ProgressOutput {
  write(text: string): unknown
  readonly isTTY?: boolean
}

/** The label says what is being counted; `unit` is bytes or plain things (tensors). */
export type ProgressMaker = (label: string, unit?: 'bytes' | 'things') => Progress

const REDRAW_MS = 100
const BAR_CELLS = 24
const SILENT: Progress = { update() {}, finish() {} }

/** `wanted`: true forces progress (also into a file), false silences it, undefined follows the terminal. */
export function progressMaker(output: ProgressOutput, wanted: boolean | undefined): ProgressMaker {
  if (wanted === false || (wanted === undefined && !output.isTTY)) return () => SILENT
  return output.isTTY
    ? (label, unit = 'things') => redrawnLine(output, label, unit)
    : (label, unit = 'things') => linePerTenth(output, label, unit)
}

function redrawnLine(output: ProgressOutput, label: string, unit: 'bytes' | 'things'): Progress {
  let drawn = 0
  let last = ''
  const draw = (line: string) => {
    output.write(`\r${line.padEnd(last.length)}`)
    last = line
  }
  return {
    update(done, total) {
      const now = Date.now()
      if (done < total && now - drawn < REDRAW_MS) return
      drawn = now
      const filled = total > 0 ? Math.round((done / total) * BAR_CELLS) : 0
      draw(`${label} [${'#'.repeat(filled).padEnd(BAR_CELLS, '.')}] ${amount(done, total, unit)}`)
    },
    finish() {
      if (last) output.write('\n')
      last = ''
    },
  }
}

function linePerTenth(output: ProgressOutput, label: string, unit: 'bytes' | 'things'): Progress {
  let tenth = -1
  return {
    update(done, total) {
      const reached = total > 0 ? Math.floor((done / total) * 10) : 0
      if (reached === tenth) return
      tenth = reached
      output.write(`${label}: ${amount(done, total, unit)}\n`)
    },
    finish() {},
  }
}

function amount(done: number, total: number, unit: 'bytes' | 'things'): string {
  return unit === 'bytes' ? `${formatBytes(done)} / ${formatBytes(total)}` : `${done} / ${total}`
}
