/** Times for the speed measurements: CPU time of this process, median over runs that take turns. */

/** User and system time of the process, all its threads, in milliseconds. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** Median CPU milliseconds of each, run in turns so that a busy machine slows them alike; one run first to warm up. */
export async function interleaved<K extends string>(
  rounds: number,
  works: Readonly<Record<K, () => unknown>>,
): Promise<Record<K, number>> {
  const names = Object.keys(works) as K[]
  const times = new Map<K, number[]>(names.map((name) => [name, []]))
  for (let round = 0; round <= rounds; round++) {
    for (const name of names) {
      const before = cpuMs()
      await works[name]()
      if (round > 0) times.get(name)?.push(cpuMs() - before)
    }
  }
  return Object.fromEntries(names.map((name) => [name, median(times.get(name) as number[])])) as Record<K, number>
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] as number
}
