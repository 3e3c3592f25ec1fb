/**
 * One order for everything that is sorted here: that of the UTF-8 bytes (= code points). It is the order in which S3
 * lists keys; JavaScript's own order of UTF-16 units differs from it beyond U+FFFF.
 */
export function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'))
}
