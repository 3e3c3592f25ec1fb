import { describe, expect, test } from 'vitest'
import { type RawOptions, resolveOptions } from '../../../compress/options.ts'
import { refusalOf } from '../../fixtures/refusal.ts'

describe('default options', () => {
  test('of a LoRA: entries by their effect, 13 magnitudes, scales between least squares and the kept norm', () => {
    expect(resolveOptions('lora')).toEqual({
      density: 0.17,
      alpha: null,
      scope: 'global',
      scale: 'between',
      transform: 'effect',
      layers: 3,
      gain: 1,
      include: [],
      exclude: [],
      strict: false,
      codec: 'sgr',
      preset: 'balanced',
    })
  })

  test('of a full fine-tune: one threshold, the norm kept', () => {
    const { scope, scale, transform, density } = resolveOptions('full')
    expect({ scope, scale, transform, density }).toEqual({
      scope: 'global',
      scale: 'norm',
      transform: 'none',
      density: 0.1,
    })
  })

  test('of (IA)3: twice the density', () => {
    expect(resolveOptions('ia3').density).toBe(0.2)
  })

  test('of the paper: one threshold and one sigma over raw values', () => {
    const { scope, scale, transform, density, alpha } = resolveOptions('lora', { preset: 'paper' })
    expect({ scope, scale, transform, density, alpha }).toEqual({
      scope: 'global',
      scale: 'std',
      transform: 'none',
      density: 0.1,
      alpha: 1,
    })
  })
})

describe('given options', () => {
  test('may be text, as a query string has them', () => {
    const raw = { density: '0.05', gain: '1.5', strict: 'true', include: 'a.b, c*', codec: 'rice' }
    expect(resolveOptions('lora', raw)).toMatchObject({
      density: 0.05,
      gain: 1.5,
      strict: true,
      include: ['a.b', 'c*'],
      codec: 'rice',
    })
  })

  test('that are empty text mean the default', () => {
    expect(resolveOptions('lora', { density: '', alpha: '', scope: '' })).toEqual(resolveOptions('lora'))
  })

  test('overrule a preset one by one', () => {
    expect(resolveOptions('lora', { preset: 'paper', density: 0.2, scope: 'tensor' })).toMatchObject({
      density: 0.2,
      scope: 'tensor',
      scale: 'std',
      alpha: 1,
    })
  })

  test('of layers are 1 to 4', async () => {
    expect(resolveOptions('full', { layers: '2' }).layers).toBe(2)
    for (const layers of [0, 5, 1.5, 'two'])
      expect(await refusalOf(() => resolveOptions('full', { layers }))).toMatchObject({ code: 'PARAMETER_INVALID' })
  })

  test('of several layers or the coordinates of the effect cannot have sigma for a scale', async () => {
    for (const raw of [{ layers: 2 }, { transform: 'effect' }] satisfies RawOptions[])
      expect(await refusalOf(() => resolveOptions('lora', { ...raw, scale: 'std' }))).toMatchObject({
        code: 'PARAMETER_INVALID',
      })
  })

  test('of a LoRA in other coordinates have a threshold per tensor', () => {
    expect(resolveOptions('lora', { transform: 'svd' })).toMatchObject({ scope: 'tensor', scale: 'norm', layers: 3 })
    expect(resolveOptions('lora', { alpha: 2 })).toMatchObject({ scope: 'tensor', layers: 1 })
    expect(resolveOptions('lora', { preset: 'paper', transform: 'svd' })).toMatchObject({ scope: 'global' })
  })

  test('of alpha ask for sigma over the values as they were uploaded', () => {
    expect(resolveOptions('lora', { alpha: 2 })).toMatchObject({ alpha: 2, scale: 'std', transform: 'none' })
  })

  test('of alpha leave a transform that was asked for', () => {
    expect(resolveOptions('lora', { alpha: 2, transform: 'balance' })).toMatchObject({ transform: 'balance' })
  })

  test('of scale std without alpha mean alpha 1', () => {
    expect(resolveOptions('full', { scale: 'std' }).alpha).toBe(1)
  })
})

const REFUSED: readonly [parameter: string, raw: RawOptions][] = [
  ['density', { density: 0 }],
  ['density', { density: 1.5 }],
  ['density', { density: 'abc' }],
  ['density', { density: '0x1' }],
  ['density', { density: ' 0.1' }],
  ['density', { density: Number.NaN }],
  ['density', { density: -0.1 }],
  ['density', { density: [0.1] }],
  ['alpha', { alpha: 0 }],
  ['alpha', { alpha: '1e9' }],
  ['alpha', { alpha: 2, scale: 'norm' }],
  ['scope', { scope: 'Global' }],
  ['scale', { scale: 'median' }],
  ['transform', { transform: 'qr' }],
  ['gain', { gain: 'Infinity' }],
  ['strict', { strict: 'yes' }],
  ['codec', { codec: 'zip' }],
  ['preset', { preset: '__proto__' }],
  ['include', { include: [1] }],
  ['exclude', { exclude: 'a,,b' }],
  ['exclude', { exclude: Array.from({ length: 65 }, (_, i) => `t${i}`) }],
]

describe('refused options', () => {
  test.each(REFUSED)('name the parameter %s of %j', async (parameter, raw) => {
    const { code, detail, message } = await refusalOf(() => resolveOptions('lora', raw))
    expect({ code, parameter: detail.parameter }).toEqual({ code: 'PARAMETER_INVALID', parameter })
    expect(message).toContain(parameter)
  })

  test('include a transform for what has no LoRA factors', async () => {
    const { detail } = await refusalOf(() => resolveOptions('full', { transform: 'svd' }))
    expect(detail.parameter).toBe('transform')
  })

  test('include unknown names, and list the known ones', async () => {
    const { detail } = await refusalOf(() => resolveOptions('lora', { densty: 0.1 } as RawOptions))
    expect(detail).toMatchObject({ parameter: 'densty', allowed: expect.arrayContaining(['density']) })
  })

  test('are quoted only in part when they are long', async () => {
    const { message } = await refusalOf(() => resolveOptions('lora', { scope: 'x'.repeat(10_000) }))
    expect(message.length).toBeLessThan(300)
  })
})
