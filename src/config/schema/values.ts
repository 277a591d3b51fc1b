/**
 * What the value of a setting may be: each kind reads the text a user wrote and says what is wrong
 * with it in one clause, which the caller puts after the setting's name. Nothing here knows a setting.
 */

import { isIP } from 'node:net'

import { mayHoldSecret } from '../../core/plain-text.js'

/** Thrown by `parse`; the message reads on from the name of the setting: `port must be …`. */
export class ValueError extends Error {
  readonly hint: string | undefined

  constructor(message: string, hint?: string) {
    super(message)
    this.hint = hint
  }
}

/** `T` is what the program reads, `Option` what a caller of the library may write. */
export interface Kind<T, Option = string> {
  /** Stands for the value in help texts; empty for a switch. */
  readonly placeholder: string
  /** The values there are, where they are few: for completion. */
  readonly choices?: readonly string[]
  /** A path, which is taken from where it was written: a file's own folder, or the working one. */
  readonly isPath?: boolean
  /** The unit that is added to the names of such values: `connectTimeoutMs`. */
  readonly unit?: 'Ms'
  readonly parse: (text: string) => T
  /** The text a user would have written for the value of a library option; left out: it as a text. */
  readonly write?: (option: Option) => string
}

export function text(placeholder: string, isPath = false): Kind<string> {
  return {
    placeholder,
    isPath,
    parse(written) {
      // PostgreSQL's StartupMessage and file names end at the first zero byte.
      if (written === '' || written.includes('\0')) throw new ValueError('must not be empty')
      return written
    },
  }
}

/** A name of a target: short, and safe in a user name, a label and a log. */
export const shortName: Kind<string> = {
  placeholder: 'name',
  parse(written) {
    if (!/^[a-z0-9-]{1,63}$/.test(written)) {
      throw new ValueError('must be 1 to 63 lower-case letters, digits and hyphens')
    }
    return written
  },
}

export const switched: Kind<boolean, boolean> = {
  placeholder: '',
  choices: ['true', 'false'],
  parse(written) {
    const word = written.toLowerCase()
    if (['true', 'yes', 'on', '1'].includes(word)) return true
    if (['false', 'no', 'off', '0'].includes(word)) return false
    throw new ValueError(`must be true or false${butNot(written)}`)
  },
}

export function choice<const T extends string>(
  placeholder: string,
  ...choices: readonly T[]
): Kind<T, T> {
  return {
    placeholder,
    choices,
    parse(written) {
      const found = choices.find((each) => each === written)
      if (found === undefined) {
        throw new ValueError(
          `must be ${choices.join(', ').replace(/, ([^,]*)$/, ' or $1')}${butNot(written)}`,
        )
      }
      return found
    },
  }
}

export function wholeNumber(placeholder: string, max: number, min = 0): Kind<number, number> {
  return {
    placeholder,
    parse(written) {
      const value = /^\d{1,10}$/.test(written) ? Number(written) : -1
      if (value < min || value > max) {
        throw new ValueError(`must be a whole number from ${min} to ${max}${butNot(written)}`)
      }
      return value
    },
  }
}

/** 0, where it is allowed, means a free one. */
export function portNumber(min = 0): Kind<number, number> {
  return wholeNumber('port', 65_535, min)
}

const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
// A Node timer set further ahead than 2^31 - 1 ms fires at once.
const LONGEST_MS = 24 * 24 * UNIT_MS.h!

/** A duration, read as milliseconds. A number given to the library is milliseconds too. */
export function duration(
  minMs = 0,
  maxMs = LONGEST_MS,
): Kind<number, string | number> & { readonly unit: 'Ms' } {
  return {
    placeholder: 'duration',
    unit: 'Ms',
    parse(written) {
      if (written !== '0' && !/^(\d{1,9}(ms|s|m|h|d))+$/.test(written)) {
        throw new ValueError(`must be a duration such as 30s, 5m, 1h or 7d${butNot(written)}`)
      }
      let ms = 0
      for (const [, count, unit] of written.matchAll(/(\d{1,9})(ms|s|m|h|d)/g)) {
        ms += Number(count) * UNIT_MS[unit!]!
      }
      if (ms < minMs || ms > maxMs) {
        throw new ValueError(
          `must be from ${writeDuration(minMs)} to ${writeDuration(maxMs)}${butNot(written)}`,
        )
      }
      return ms
    },
    write: (option) => (typeof option === 'number' ? `${option}ms` : option),
  }
}

/** Writes a duration as short as possible: `30s`, `5m`, `1500ms`. */
export function writeDuration(ms: number): string {
  for (const unit of ['h', 'm', 's'] as const) {
    if (ms > 0 && ms % UNIT_MS[unit]! === 0) return `${ms / UNIT_MS[unit]!}${unit}`
  }
  return ms === 0 ? '0s' : `${ms}ms`
}

/** One IP address, or `localhost`, which is 127.0.0.1 here. */
export const ipAddress: Kind<string> = {
  placeholder: 'IP',
  parse(written) {
    const address = written.replace(/^\[(.*)\]$/, '$1')
    if (address === 'localhost') return '127.0.0.1'
    if (isIP(address) === 0) {
      throw new ValueError(`must be an IP address such as 127.0.0.1 or ::1${butNot(written)}`)
    }
    return address
  },
}

/** Words between spaces and commas, at least one. `parse` throws for a word that is wrong. */
function listOf<T>(
  placeholder: string,
  one: string,
  parse: (word: string) => readonly T[],
): Kind<readonly T[], string | readonly string[]> {
  return {
    placeholder,
    parse(written) {
      const words = written.split(/[\s,]+/).filter((word) => word !== '')
      if (words.length === 0) throw new ValueError(`must name at least one ${one}`)
      return words.flatMap(parse)
    },
    write: (option) => (typeof option === 'string' ? option : option.join(',')),
  }
}

const addressList = listOf('IP,…', 'IP address', (word) =>
  word === 'localhost' ? ['127.0.0.1', '::1'] : [ipAddress.parse(word)],
)

/** IP addresses to listen at. `localhost` is both loopback addresses. */
export const ipAddresses: typeof addressList = {
  ...addressList,
  parse: (written) => [...new Set(addressList.parse(written))],
}

export interface Network {
  readonly address: string
  readonly prefix: number
}

/** IP addresses, or networks such as `10.0.0.0/8`. */
export const networks = listOf('NETWORK,…', 'IP address or network', (word): [Network] => {
  const [address = '', prefix] = word.split('/')
  const bits = isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : -1
  const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1
  if (length < 0 || length > bits) {
    throw new ValueError('must be IP addresses or networks such as 10.0.0.0/8')
  }
  return [{ address, prefix: length }]
})

/** DNS servers as Node's Resolver takes them: `IP`, `IP:port` or `[IPv6]:port`. */
export const dnsServers = listOf('IP[:port],…', 'DNS server', (server) => {
  const [, v6, v4, port] = /^(?:\[(.+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(server) ?? []
  const known = isIP(server) !== 0 || isIP(v6 ?? '') === 6 || isIP(v4 ?? '') === 4
  if (!known || Number(port ?? 53) > 65_535 || Number(port ?? 53) === 0) {
    throw new ValueError(`must be DNS servers such as 1.1.1.1 or 10.0.0.2:53${butNot(server)}`)
  }
  return [server]
})

/** What branches are made from: a project, or one of its branches. */
export interface BranchSource {
  /** `projects/P` */
  readonly project: string
  /** `projects/P/branches/B`; undefined: the default branch. */
  readonly branch: string | undefined
}

export const branchSource: Kind<BranchSource> = {
  placeholder: 'PROJECT',
  parse(written) {
    const name = '[A-Za-z0-9][A-Za-z0-9_-]{0,62}'
    const found = new RegExp(`^(projects/${name})(/branches/${name})?$`).exec(written)
    const [, project, branch] = found ?? []
    if (project === undefined) {
      throw new ValueError('must be projects/P or projects/P/branches/B')
    }
    return { project, branch: branch === undefined ? undefined : written }
  },
}

/** Words between spaces. */
export const targetTexts: Kind<readonly string[], readonly string[]> = {
  placeholder: 'TARGET …',
  parse: (written) => written.split(/\s+/).filter((word) => word !== ''),
  write: (option) => option.join(' '),
}

/** Quotes what was written, unless it may hold a secret. */
function butNot(written: string): string {
  return mayHoldSecret(written) ? '' : `, not "${written}"`
}
