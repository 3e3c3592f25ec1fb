import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { memorySource } from '../../../../tensors/byte-source.ts'
import { weightsDigest } from '../../../../tensors/node/weights-digest.ts'
import { serialiseHeader, tensorBytes } from '../../../../tensors/safetensors-header.ts'
import { openSafetensors, openSharded } from '../../../../tensors/safetensors-reader.ts'
import type { TensorInfo, TensorSource } from '../../../../tensors/tensor.ts'

const A: TensorInfo = { name: 'a', dtype: 'F32', shape: [2, 1] }
const B: TensorInfo = { name: 'b', dtype: 'BF16', shape: [] }

/** A file whose tensors' bytes depend on nothing but their names. */
function file(tensors: TensorInfo[], metadata: Record<string, string> = {}): Uint8Array {
  const data = tensors.map((tensor) => Buffer.alloc(tensorBytes(tensor), tensor.name))
  return Buffer.concat([serialiseHeader(tensors, metadata), ...data])
}

async function digestOf(bytes: Uint8Array): Promise<string> {
  return weightsDigest(await openSafetensors(memorySource(bytes)))
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

describe('the digest of weights', () => {
  it('is the hash of names, dtypes, shapes and the hashes of the data', async () => {
    const preimage = Buffer.concat([
      Buffer.from('a\0F32\x002,1\0'),
      sha256(Buffer.from('aaaaaaaa')),
      Buffer.from('b\0BF16\0\0'),
      sha256(Buffer.from('bb')),
    ])
    expect(await digestOf(file([B, A]))).toBe(`sha256:${sha256(preimage).toString('hex')}`)
  })

  it('does not depend on order, metadata or sharding', async () => {
    const expected = await digestOf(file([A, B]))
    expect(await digestOf(file([B, A], { format: 'pt' }))).toBe(expected)
    const shards: Record<string, Uint8Array> = { '1.safetensors': file([B]), '2.safetensors': file([A]) }
    const index = JSON.stringify({ weight_map: { a: '2.safetensors', b: '1.safetensors' } })
    const sharded = await openSharded(index, async (name) => memorySource(shards[name]!))
    expect(await weightsDigest(sharded)).toBe(expected)
  })

  it('changes with a name, a dtype, a shape or a byte', async () => {
    const changed: TensorInfo[][] = [
      [A, B],
      [A],
      [A, { ...B, name: 'c' }],
      [A, { ...B, dtype: 'F16' }],
      [{ ...A, shape: [1, 2] }, B],
      [{ ...A, shape: [2] }, B],
    ]
    const digests = await Promise.all(changed.map((tensors) => digestOf(file(tensors))))
    const flipped = file([A, B])
    flipped[flipped.byteLength - 1]! ^= 1
    digests.push(await digestOf(flipped))
    expect(new Set(digests).size).toBe(changed.length + 1)
  })

  it('of a tensor larger than one slice is that of all its bytes', async () => {
    const big = new Uint8Array((16 << 20) + 5).map((_, i) => i * 7)
    const source: TensorSource = {
      tensors: [{ name: 'big', dtype: 'U8', shape: [big.byteLength] }],
      metadata: {},
      readBytes: async () => big,
      read: () => Promise.reject(new Error('values are not needed')),
    }
    const preimage = Buffer.concat([Buffer.from(`big\0U8\0${big.byteLength}\0`), sha256(big)])
    expect(await weightsDigest(source)).toBe(`sha256:${sha256(preimage).toString('hex')}`)
  })

  it('is given up when nobody waits for it', async () => {
    const source = await openSafetensors(memorySource(file([A])))
    await expect(weightsDigest(source, AbortSignal.abort())).rejects.toThrow(/abort/i)
  })
})
