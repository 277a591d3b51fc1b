/** The start and the end of a session as one line that a person reads, for the pretty log. */

export const SESSION_CONNECTED = 'session connected'
export const SESSION_ENDED = 'session ended'

type Facts = Readonly<Record<string, unknown>>

/** Undefined for any other line of the log. */
export function sessionLine(line: Facts): string | undefined {
  switch (line.msg) {
    case SESSION_CONNECTED:
      return `session ${line.session} connected: ${[...who(line), ...where(line)].join(', ')}`
    case SESSION_ENDED:
      return `session ${line.session} ${line.outcome}: ${[...who(line), ...whatMoved(line)].join(', ')}`
    default:
      return undefined
  }
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
