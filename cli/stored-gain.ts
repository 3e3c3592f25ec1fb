import type { Container } from '../compress/container-reader.ts'

/** The gain an expert was compressed with: readers apply it unless they are told another. */
export function storedGain({ header }: Container): number {
  return Number(header.options.gain ?? 1)
}
