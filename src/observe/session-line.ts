/**
 * The pretty log's lines in words: a session's start and end, and every failure, each as one line
 * that a person reads. All their facts are in the JSON format.
 */

export const SESSION_CONNECTED = 'session connected'
export const SESSION_ENDED = 'session ended'

type Facts = Readonly<Record<string, unknown>>

// A line with further facts, such as the stack of an internal error, is left as it is.
const FAILURE_FACTS = new Set(['msg', 'target', 'reason', 'hint', 'detail', 'file'])

/** Undefined for any other line of the log. */
export function sessionLine(line: Facts): string | undefined {
  switch (line.msg) {
    case SESSION_CONNECTED:
      return `session ${line.session} connected: ${[...who(line), ...where(line)].join(', ')}`
    case SESSION_ENDED:
      return `session ${line.session} ${line.outcome}: ${[...who(line), ...whatMoved(line)].join(', ')}`
    default:
      return failureLine(line)
  }
}

function failureLine(line: Facts): string | undefined {
  const { msg, session, phase, kind, sqlState, err, target, reason, hint, detail } = line
  if (err !== undefined) return undefined
  const advice = [detail, hint].filter((text) => text !== undefined).map((text) => ` ${text}`)
  if (session !== undefined && phase !== undefined && kind !== undefined) {
    const code = sqlState === undefined ? '' : ` (${sqlState})`
    return `session ${session} failed in ${phase}: ${who(line).join(', ')}: ${msg}${code}.${advice.join('')}`
  }
  const isFailure = reason !== undefined || hint !== undefined
  if (!isFailure || Object.keys(line).some((name) => !FAILURE_FACTS.has(name))) return undefined
  const subject = target === undefined ? '' : `${target}: `
  const why = reason === undefined ? '' : `: ${reason}`
  return `${subject}${msg}${why}.${advice.join('')}`
}

function who({ application_name: application, role, user, client }: Facts): string[] {
  const name = role === undefined ? `user ${user ?? 'not known'}` : `role ${role}`
  return [String(application ?? client), name]
}

function where({ database, target, backend_pid: pid }: Facts): string[] {
  return [`database ${database} of ${target}`, ...(pid === undefined ? [] : [`backend ${pid}`])]
}

function whatMoved({ phasesMs, bytesUp, bytesDown, reason }: Facts): string[] {
  const login = (phasesMs as Record<string, number> | undefined)?.login
  return [
    ...(login === undefined ? [] : [`login ${login} ms`]),
    `up ${inBytes(Number(bytesUp))}`,
    `down ${inBytes(Number(bytesDown))}`,
    ...(reason === undefined ? [] : [String(reason)]),
  ]
}

function inBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let [value, unit] = [bytes, 0]
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}
