/** Conditional and partial requests: RFC 9110 sections 13 and 14, for one range of bytes. */
import { RegistryError } from '../../registry/errors.ts'

/** [start, end) */
export interface Span {
  readonly start: number
  readonly end: number
}

/**
 * The span a Range header asks for, or undefined for the whole: no header, a unit other than bytes, several ranges or
 * a malformed one (all of which a server may ignore). Throws RANGE_INVALID when nothing of it lies in the file.
 */
export function parseRange(header: string | undefined, size: number): Span | undefined {
  const match = /^bytes=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(header ?? '')
  if (match === null) return undefined
  const [, first = '', last = ''] = match
  if (first === '' && last === '') return undefined
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first)
  const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1)
  if (first !== '' && last !== '' && Number(last) < start) return undefined
  if (start >= size) {
    throw new RegistryError('RANGE_INVALID', `the file has ${size} bytes; ${header} lies outside`, {
      size,
      range: header,
    })
  }
  return { start, end }
}

/** If-None-Match against a strong tag: weak comparison, as the RFC asks. */
export function matchesTag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  return header.split(',').some((part) => {
    const tag = part.trim()
    return tag === '*' || tag.replace(/^W\//, '') === etag
  })
}

/** If-Range: the range counts only while the file is still the one the client knows. Strong comparison. */
export function rangeStillValid(ifRange: string | undefined, etag: string): boolean {
  return ifRange === undefined || ifRange.trim() === etag
}
