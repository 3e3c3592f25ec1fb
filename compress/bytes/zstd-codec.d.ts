/** The part of zstd-codec that Tern calls: the package brings no types. */
declare module 'zstd-codec' {
  export interface ZstdBinding {
    Simple: new () => {
      /** null on any failure and for empty content. */
      decompress(bytes: Uint8Array): Uint8Array | null
    }
  }
  export const ZstdCodec: { run(ready: (binding: ZstdBinding) => void): void }
}
