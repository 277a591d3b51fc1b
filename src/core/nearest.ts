/** The word that was probably meant: for "did you mean" after an unknown flag, key, command or name. */

/** Longer words are not compared: it would take too much time. */
const MAX_LENGTH = 100
/** The beginning of a word must have this many letters: fewer begin too many words. */
const MIN_BEGINNING = 3

/** Whether `word` may be `candidate` with a typing mistake: one, or one in three letters. */
export function isNear(word: string, candidate: string): boolean {
  const most = Math.max(1, Math.floor(word.length / 3))
  const isAsLong = Math.abs(word.length - candidate.length) <= most
  return isAsLong && distance(word, candidate) <= most
}

/** Those of `candidates` that are near, or that `word` begins: the nearest first, at most `most`. */
export function nearest<Word extends string>(
  word: string,
  candidates: Iterable<Word>,
  most: number,
): Word[] {
  if (word.length > MAX_LENGTH) return []
  return [...new Set(candidates)]
    .filter((candidate) => isNear(word, candidate) || begins(word, candidate))
    .map((candidate) => ({ candidate, by: distance(word, candidate) }))
    .sort((a, b) => a.by - b.by)
    .slice(0, most)
    .map(({ candidate }) => candidate)
}

/** `Did you mean "…"?`, or nothing when no candidate is near. */
export function didYouMean(word: string, candidates: Iterable<string>): string | undefined {
  const [found] = nearest(word, candidates, 1)
  return found === undefined ? undefined : `Did you mean "${found}"?`
}

function begins(word: string, candidate: string): boolean {
  return word.length >= MIN_BEGINNING && candidate.toLowerCase().startsWith(word.toLowerCase())
}

/**
 * How many letters are missing, added, wrong, or swapped with their neighbour (optimal string
 * alignment, case ignored). Infinite for words that are too long to compare.
 */
function distance(word: string, candidate: string): number {
  if (word.length > MAX_LENGTH || candidate.length > MAX_LENGTH) return Number.POSITIVE_INFINITY
  const [from, to] = [word.toLowerCase(), candidate.toLowerCase()]
  const rows: number[][] = [Array.from({ length: to.length + 1 }, (_, column) => column)]
  for (let row = 1; row <= from.length; row += 1) {
    const line = [row]
    for (let column = 1; column <= to.length; column += 1) {
      const same = from[row - 1] === to[column - 1]
      let least = Math.min(
        rows[row - 1]![column]! + 1,
        line[column - 1]! + 1,
        rows[row - 1]![column - 1]! + (same ? 0 : 1),
      )
      if (
        row > 1 &&
        column > 1 &&
        from[row - 1] === to[column - 2] &&
        from[row - 2] === to[column - 1]
      ) {
        least = Math.min(least, rows[row - 2]![column - 2]! + 1)
      }
      line.push(least)
    }
    rows.push(line)
  }
  return rows[from.length]![to.length]!
}
