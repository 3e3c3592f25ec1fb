/** CRC-32 of stored bytes (IEEE 802.3, polynomial 0xEDB88320 reflected: that of zip and PNG). FORMAT.md, "Checksums". */
import { crc32 as nodeCrc32 } from 'node:zlib'

/** Unsigned 32-bit CRC of `bytes`; the CRC of nothing is 0. */
export function crc32(bytes: Uint8Array): number {
  return nodeCrc32(bytes)
}
