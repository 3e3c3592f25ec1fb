/** Where a tensor stands among its model's layers, for gradients. */

/**
 * Depth in 0..1 by tensor name: layer / (layers - 1), 1 for the layer of a one-layer stack, 0 for tensors outside
 * layers (embeddings, final norm, head). A stack is a name prefix whose first number counts 0, 1, 2, ... without gaps.
 */
export function layerDepths(names: readonly string[]): (name: string) => number {
  const stacks = new Map<string, Set<number>>()
  for (const name of names) {
    const place = layerOf(name)
    if (!place) continue
    const layers = stacks.get(place.stack) ?? new Set()
    stacks.set(place.stack, layers.add(place.layer))
  }
  return (name) => {
    const place = layerOf(name)
    const layers = place && stacks.get(place.stack)
    if (!layers || !isCounting(layers)) return 0
    return layers.size === 1 ? 1 : place.layer / (layers.size - 1)
  }
}

function layerOf(name: string): { stack: string; layer: number } | undefined {
  const hit = /^(.*?)\.(\d{1,6})\./.exec(name)
  return hit ? { stack: hit[1]!, layer: Number(hit[2]) } : undefined
}

/** Distinct numbers whose largest is one less than their count are exactly 0..n-1. */
function isCounting(layers: ReadonlySet<number>): boolean {
  let largest = 0
  for (const layer of layers) largest = Math.max(largest, layer)
  return largest === layers.size - 1
}
