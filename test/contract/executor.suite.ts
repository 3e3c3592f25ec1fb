/** What every Executor must do, and that none gives other numbers than the tasks called directly. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EncodePart } from '../../compress/codecs/trit-codec.ts'
import { CompressError } from '../../compress/errors.ts'
import type { Executor } from '../../compress/executor.ts'
import type { QuantizeRules } from '../../compress/quantize.ts'
import type { PairUnit, TensorUnit } from '../../compress/task-vector.ts'
import { TASKS } from '../../compress/tasks.ts'
import { TensorError } from '../../tensors/errors.ts'
import { randomFloats } from '../fixtures/random.ts'
import { refusalOf } from '../fixtures/refusal.ts'
import { tempModel } from '../fixtures/temp-model.ts'

const RULES: QuantizeRules = {
  mask: { scope: 'tensor', density: 0.2 },
  scale: { kind: 'component' },
  layers: 1,
  gain: 1,
}

async function pairUnit(): Promise<PairUnit> {
  const source = await tempModel([
    { name: 'm.lora_A.weight', shape: [4, 30], values: randomFloats(120, 1) },
    { name: 'm.lora_B.weight', shape: [20, 4], values: randomFloats(80, 2) },
  ])
  const tau = (name: string) => ({ name, location: source.locate(name), origin: 0 as const })
  return {
    kind: 'pair',
    module: 'm',
    rank: 4,
    inFeatures: 30,
    outFeatures: 20,
    a: tau('m.lora_A.weight'),
    b: tau('m.lora_B.weight'),
  }
}

async function tensorUnit(values: ArrayLike<number>): Promise<TensorUnit> {
  const source = await tempModel([{ name: 't', shape: [values.length], values }])
  return { kind: 'tensor', tensor: { name: 't', location: source.locate('t'), origin: 0 } }
}

export function executorSuite(name: string, make: () => Executor): void {
  describe(`the ${name} executor`, () => {
    let executor: Executor
    beforeAll(() => {
      executor = make()
    })
    afterAll(() => executor.close())

    test('says how many tasks may run at once', () => {
      expect(executor.width).toBeGreaterThanOrEqual(1)
    })

    test('measures as the task does', async () => {
      const input = { unit: await pairUnit(), transform: 'svd' } as const
      expect(await executor.run('measureUnit', input)).toEqual(await TASKS.measureUnit(input))
    })

    test('counts as the task does', async () => {
      const bin = (new Uint32Array(randomFloats(120, 1).buffer)[0]! & 0x7fff_ffff) >>> 16
      const input = { unit: await pairUnit(), transform: 'none', bin, magnitudes: true } as const
      const result = await executor.run('countUnit', input)
      expect(result).toEqual(await TASKS.countUnit(input))
      expect(result.low[0]?.bins.length).toBeGreaterThan(0)
    })

    test('quantises as the task does', async () => {
      const input = { unit: await pairUnit(), transform: 'svd', rules: RULES } as const
      expect(await executor.run('quantizeUnit', input)).toEqual(await TASKS.quantizeUnit(input))
    })

    test('encodes as the task does', async () => {
      const side = Uint8Array.of(0)
      const part: EncodePart = { rows: 4, cols: 8, start: 0, cells: 32, side, positions: Uint32Array.of(1, 5, 31) }
      const input = { codec: 'sgr', parts: [part] } as const
      expect(await executor.run('encodeFrame', input)).toEqual(await TASKS.encodeFrame(input))
    })

    test('runs many tasks asked for at once, each to its own end', async () => {
      const units = await Promise.all([1, 2, 3, 4, 5, 6].map((n) => tensorUnit([n, n])))
      const results = await Promise.all(units.map((unit) => executor.run('measureUnit', { unit, transform: 'none' })))
      expect(results.map(({ moments }) => moments[0]?.sum)).toEqual([2, 4, 6, 8, 10, 12])
    })

    test('hands on a coded error with its class, code and detail, and goes on', async () => {
      const unit = await tensorUnit([1, Number.NaN])
      const refusal = await refusalOf(() => executor.run('measureUnit', { unit, transform: 'none' }))
      expect(refusal).toBeInstanceOf(CompressError)
      expect(refusal).toMatchObject({ code: 'NOT_FINITE', detail: { tensor: 't', index: 1 } })
      expect(refusal.message).toContain('NaN')
      const good = await tensorUnit([1, 2])
      expect((await executor.run('measureUnit', { unit: good, transform: 'none' })).moments[0]?.sum).toBe(3)
    })

    test('hands on an error of reading', async () => {
      const unit = await tensorUnit([1, 2])
      const { location } = unit.tensor
      const beyond: TensorUnit = {
        kind: 'tensor',
        tensor: { ...unit.tensor, location: { ...location, start: location.end, end: location.end + 8 } },
      }
      const refusal = await refusalOf(() => executor.run('measureUnit', { unit: beyond, transform: 'none' }))
      expect(refusal).toBeInstanceOf(TensorError)
      expect(refusal.code).toBe('SOURCE_TRUNCATED')
    })

    test('does not begin what was given up, and rejects with the reason', async () => {
      const unit = await tensorUnit([1])
      const signal = AbortSignal.abort(new Error('no longer wanted'))
      await expect(executor.run('measureUnit', { unit, transform: 'none' }, signal)).rejects.toThrow('no longer wanted')
    })

    test('refuses tasks once it is closed', async () => {
      const other = make()
      const unit = await tensorUnit([1])
      await other.run('measureUnit', { unit, transform: 'none' })
      await other.close()
      await expect(other.run('measureUnit', { unit, transform: 'none' })).rejects.toThrow('closed')
    })

    test('closes without ever having run anything', async () => {
      await make().close()
    })
  })
}
