/** A compression report in a few lines, for people. */
import type { CompressionReport } from '../compress/report.ts'
import { formatBytes, formatFields, formatShare } from './format.ts'

export function reportText(report: CompressionReport): string {
  const { bytes, originalBytes, product } = report
  return formatFields({
    kind: report.kind,
    size: `${formatBytes(bytes.total)} of ${formatBytes(originalBytes)} (${report.ratio.toFixed(1)} x smaller)`,
    'bits/param': `${report.bitsPerParameter.toFixed(3)} of the whole file`,
    ternary: `${report.ternaryParameters} of ${report.parameters} parameters, ${formatShare(report.density)} kept`,
    coding: `${report.ternaryBitsPerParameter.toFixed(3)} bits per ternary parameter; H(k)+k is ${report.boundBitsPerParameter.toFixed(3)}`,
    error: `${formatShare(report.relativeError)} of the norm, cosine ${report.cosine.toFixed(3)}`,
    'error of B.A': product
      ? `${formatShare(product.relativeError)} of the norm, cosine ${product.cosine.toFixed(3)}`
      : null,
  })
}
