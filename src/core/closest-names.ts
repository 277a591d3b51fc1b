/** The names somebody may have meant. */

import { slips } from './nearest.js'

/** The nearest of `names`, nearest first, at most three; none when all are far off. */
export function closestNames(name: string, names: readonly string[]): string[] {
  const limit = Math.max(2, Math.floor(name.length / 3))
  // A name too long to be one is not worth the time it takes to compare.
  const candidates = name.length > 100 ? [] : [...new Set(names)]
  return candidates
    .map((candidate) => ({ candidate, distance: slips(name, candidate) }))
    .filter(({ candidate, distance }) => distance <= limit || candidate.startsWith(name))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ candidate }) => candidate)
}
