/** A span of time as people read it: one or two units are enough. */

/** `3d 4h`, `2h 5m`, `45m`, `12s`. */
export function roughly(ms: number): string {
  // Above an hour to the minute: what was just set to two hours is not 1h 59m.
  const grain = ms < 3_600_000 - 30_000 ? 1 : 60
  const seconds = Math.max(0, Math.round(ms / 1000 / grain) * grain)
  const units = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ] as const
  const first = units.findIndex(([count]) => count > 0)
  if (first === -1) return '0s'
  return units
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count}${unit}`)
    .join(' ')
}
