/** `transform: balance`: the same product B A with |row i of A| = |column i of B| for every component i. */
import { column, dot } from './column-matrix.ts'
import { componentsOfA, componentsOfB, fromComponents, type LoraFactors } from './lora-factors.ts'

/**
 * Row i of A times f, column i of B divided by f, f = sqrt(|b_i| / |a_i|), in f64, then one rounding to f32.
 * A component with a zero side has no product and stays as it is.
 */
export function balance(factors: LoraFactors): LoraFactors {
  const a = componentsOfA(factors)
  const b = componentsOfB(factors)
  for (let i = 0; i < factors.rank; i++) {
    const x = column(a, i)
    const y = column(b, i)
    const lengthA = Math.sqrt(dot(x, x))
    const lengthB = Math.sqrt(dot(y, y))
    if (lengthA === 0 || lengthB === 0) continue
    const factor = Math.sqrt(lengthB / lengthA)
    for (let k = 0; k < x.length; k++) x[k] = (x[k] as number) * factor
    for (let k = 0; k < y.length; k++) y[k] = (y[k] as number) / factor
  }
  return fromComponents(a, b)
}
