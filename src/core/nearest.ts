/** The word somebody probably meant: for "did you mean" after an unknown flag, key or command. */

/** The nearest of `candidates`, or undefined when none is near enough to be a slip of the finger. */
export function nearest<Word extends string>(
  word: string,
  candidates: Iterable<Word>,
): Word | undefined {
  if (word.length > 60) return undefined
  let best: Word | undefined
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    const distance = slips(word.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best
}

/** ` Did you mean "…"?`, or nothing. */
export function didYouMean(word: string, candidates: Iterable<string>): string | undefined {
  const found = nearest(word, candidates)
  return found === undefined ? undefined : `Did you mean "${found}"?`
}

/** Letters missing, too many, wrong, or swapped with their neighbour (optimal string alignment). */
export function slips(from: string, to: string): number {
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
