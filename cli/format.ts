/** Numbers and tables for people. `--json` output never passes through here. */

const UNITS = ['kB', 'MB', 'GB', 'TB'] as const

/** Decimal units, three significant digits: 1371384 -> "1.37 MB". Below 1000: "512 bytes". */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`
  let value = bytes
  let unit = ''
  for (const next of UNITS) {
    if (value < 999.5) break
    value /= 1000
    unit = next
  }
  return `${value < 10 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : value.toFixed(0)} ${unit}`
}

/** 0.0714 -> "7.14 %". */
export function formatShare(share: number): string {
  return `${(share * 100).toPrecision(3)} %`
}

/** Columns padded to their widest cell; numbers (cells that begin with a digit) go to the right. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  const format = (line: readonly string[]) =>
    line
      .map((cell, column) =>
        /^[\d-]/.test(cell) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd()
  return lines.map(format).join('\n')
}

/** "key  value" lines, values aligned; undefined values are left out. */
export function formatFields(fields: Readonly<Record<string, string | number | undefined | null>>): string {
  const present = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null)
  const width = Math.max(...present.map(([key]) => key.length))
  return present.map(([key, value]) => `${key.padEnd(width)}  ${value}`).join('\n')
}

/** `density=0.1 scope=tensor`: what is set, in the words of the command line. */
export function describeOptions(options: Readonly<Record<string, unknown>>): string {
  return Object.entries(options)
    .filter(([, value]) => value !== null && value !== false && !(Array.isArray(value) && value.length === 0))
    .map(([key, value]) => `${key}=${String(value)}`)
    .join(' ')
}
