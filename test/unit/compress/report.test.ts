import { describe, expect, test } from 'vitest'
import { factorLossError, factorLossWarning, LOST_COSINE } from '../../../compress/factor-loss.ts'
import { boundBits, fidelity } from '../../../compress/report.ts'

describe('the bound on bits per parameter', () => {
  // H(k) + k, from the table of the ComPEFT paper's densities.
  test.each([
    [0.01, 0.0908],
    [0.05, 0.3364],
    [0.1, 0.569],
    [0.2, 0.9219],
    [0.5, 1.5],
    [1, 1],
    [0, 0],
  ])('at density %s is %s', (k, bits) => {
    expect(boundBits(k)).toBeCloseTo(bits, 4)
  })
})

describe('fidelity', () => {
  test('of equal vectors is perfect', () => {
    expect(fidelity({ squares: 4, quantizedSquares: 4, dot: 4 })).toEqual({
      relativeError: 0,
      cosine: 1,
      normRatio: 1,
      shrunkRelativeError: 0,
    })
  })

  test('is measured on the vectors themselves', () => {
    // x = (3, 4), q = (2, 0).
    const { relativeError, cosine, normRatio, shrunkRelativeError } = fidelity({
      squares: 25,
      quantizedSquares: 4,
      dot: 6,
    })
    expect(relativeError).toBeCloseTo(Math.sqrt(17) / 5, 12)
    expect(cosine).toBeCloseTo(0.6, 12)
    expect(normRatio).toBeCloseTo(0.4, 12)
    expect(shrunkRelativeError).toBeCloseTo(0.6, 12)
  })

  test('has numbers for zero vectors too', () => {
    expect(fidelity({ squares: 0, quantizedSquares: 0, dot: 0 })).toMatchObject({ relativeError: 0, cosine: 1 })
    expect(fidelity({ squares: 1, quantizedSquares: 0, dot: 0 })).toMatchObject({ relativeError: 1, cosine: 0 })
  })

  test('never gives a cosine beyond one or the root of a negative number', () => {
    const { relativeError, cosine } = fidelity({ squares: 1, quantizedSquares: 1, dot: 1 + 1e-15 })
    expect([relativeError, cosine]).toEqual([0, 1])
  })
})

describe('the warning about lost factors', () => {
  const product = (module: string, lost: 'lora_B' | null, cosine: number) => ({
    module,
    rank: 4,
    squares: 4,
    quantizedSquares: 1,
    dot: 2 * cosine,
    lost,
  })

  test('is not given when every module points where it did', () => {
    expect(factorLossWarning([product('a', null, LOST_COSINE + 0.01)])).toBeUndefined()
  })

  test('names modules that lost a factor or their direction', () => {
    const warning = factorLossWarning([
      product('a', 'lora_B', 0),
      product('b', null, LOST_COSINE - 0.01),
      product('c', null, 0.7),
    ])
    expect(warning?.detail).toEqual({
      modules: [
        { module: 'a', lost: 'lora_B' },
        { module: 'b', lost: 'product' },
      ],
      of: 3,
    })
  })

  test('stays short when many modules are lost', () => {
    const warning = factorLossWarning(Array.from({ length: 500 }, (_, i) => product(`module.${i}`, 'lora_B', 0)))
    expect(warning?.message.length).toBeLessThan(400)
    expect(warning?.message).toContain('and 495 more')
  })

  test('becomes the error of the same code under strict', () => {
    const warning = factorLossWarning([product('a', 'lora_B', 0)])!
    expect(factorLossError(warning)).toMatchObject({ code: 'FACTOR_LOST', message: warning.message })
  })
})
