// @ts-check
/** Numbers and times in words, the same everywhere on the page. */

/** @param {number} bytes */
export function inBytes(bytes) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  const digits = unit === 0 || value >= 99.5 ? 0 : 1
  return `${value.toFixed(digits)} ${units[unit]}`
}

/** A duration, in two units at most: `3 d 4 h`, `48 min`, `4 min 05 s`, `1.5 s`, `12 ms`, `0.3 ms`. @param {number} ms */
export function inTime(ms) {
  if (ms > 0 && ms < 999.5) return `${ms.toFixed(ms < 9.95 ? 1 : 0)} ms`
  const seconds = Math.floor(ms / 1000)
  if (ms < 10_000 && ms > seconds * 1000) return `${(ms / 1000).toFixed(1)} s`
  const minutes = Math.floor(seconds / 60)
  const hours = Math.floor(minutes / 60)
  if (hours >= 48) return `${Math.floor(hours / 24)} d ${hours % 24} h`
  if (hours >= 1) return `${hours} h ${minutes % 60} min`
  if (minutes >= 10) return `${minutes} min`
  if (minutes >= 1) return `${minutes} min ${String(seconds % 60).padStart(2, '0')} s`
  return `${seconds} s`
}

/** The whole seconds between two times, since the page is written once a second. @param {number} from epoch ms @param {number} to epoch ms */
export function between(from, to) {
  return inTime(Math.max(0, Math.floor((to - from) / 1000) * 1000))
}

/** @param {number} at epoch ms @param {number} now epoch ms */
export function ago(at, now) {
  return now - at < 2_000 ? 'just now' : `${between(at, now)} ago`
}

/** A time of day, by this browser's clock: `02:23:16`. @param {number} at epoch ms */
export function timeOfDay(at) {
  return new Date(at).toLocaleTimeString('en-GB')
}
