/**
 * lakebase-proxy as a service, as text: a systemd user unit, or a launchd agent. Every path and value
 * reaches the program exactly as it was given. A value that the format cannot hold is an error.
 */

import { ProxyError } from '../../core/errors.js'

export interface ServiceSpec {
  /** What is run, absolute: the node binary and our main.js. */
  readonly command: readonly string[]
  /** The arguments of `start`, as the user gave them. */
  readonly args: readonly string[]
  /** The arguments of the command that returns once the proxy is ready; none without an admin port. */
  readonly waitArgs: readonly string[] | undefined
  readonly environment: Readonly<Record<string, string>>
  /** Where relative paths among the settings, and `.env`, are found. */
  readonly workingDirectory: string
  /** How long the proxy may take to drain before it is killed. */
  readonly stopTimeoutMs: number
}

export const SERVICE_NAME = 'lakebase-proxy'

/**
 * https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html, for systemd 244
 * and later (`:` before a command: no `$VARIABLE` in it is expanded).
 */
export function systemdUnit(spec: ServiceSpec): string {
  const [program = ''] = spec.command
  // systemd refuses such a program, escaped or not, but only when it loads the unit.
  if (/["'\\]/.test(program)) {
    const message = `systemd does not run a program with a quote in its path: ${program}`
    throw new ProxyError('config', message, { hint: 'Use a Node.js that is installed elsewhere.' })
  }
  const command = (args: readonly string[]) =>
    [...spec.command, ...args].map((word) => systemdWord(word)).join(' ')
  const lines = [
    '[Unit]',
    'Description=lakebase-proxy, PostgreSQL clients to Databricks Lakebase',
    '',
    '[Service]',
    'Type=exec',
    `ExecStart=:${command(['start', ...spec.args])}`,
  ]
  if (spec.waitArgs !== undefined) {
    // So that "started" means "usable". With "-": a laptop that boots with no network keeps its
    // proxy, which recovers by itself, where a failed wait would kill it.
    lines.push(`ExecStartPost=-:${command(spec.waitArgs)}`)
  }
  lines.push(
    `WorkingDirectory=${systemdPath(spec.workingDirectory)}`,
    ...Object.entries(spec.environment).map(
      ([name, value]) => `Environment=${systemdWord(`${name}=${value}`)}`,
    ),
    'Restart=on-failure',
    // Slower than the default start limit of 5 in 10 s, so that systemd never gives up restarting.
    'RestartSec=5s',
    // Wrong usage or settings: trying again changes nothing.
    'RestartPreventExitStatus=2',
    `TimeoutStopSec=${Math.ceil(spec.stopTimeoutMs / 1000)}s`,
    'UMask=0077',
    'NoNewPrivileges=yes',
    '',
    '[Install]',
    'WantedBy=default.target',
    '',
  )
  return lines.join('\n')
}

/** launchd.plist(5). launchd has no command to run once started: `install` tells of `wait`. */
export function launchdAgent(spec: ServiceSpec & { readonly logFile: string }): string {
  const agent: PlistValue = {
    Label: SERVICE_NAME,
    ProgramArguments: [...spec.command, 'start', ...spec.args],
    WorkingDirectory: spec.workingDirectory,
    EnvironmentVariables: spec.environment,
    RunAtLoad: true,
    // Again after a failure, not after `lakebase-proxy shutdown`.
    KeepAlive: { SuccessfulExit: false },
    ThrottleInterval: 10,
    ExitTimeOut: Math.ceil(spec.stopTimeoutMs / 1000),
    Umask: 0o077,
    StandardOutPath: spec.logFile,
    StandardErrorPath: spec.logFile,
  }
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">',
    '<plist version="1.0">',
    plist(agent),
    '</plist>',
    '',
  ].join('\n')
}

/** One word of a command line or assignment: C-style escapes in quotes, and `%` is a specifier. */
function systemdWord(value: string): string {
  if (value.includes('\0')) throw new ProxyError('config', 'a systemd unit cannot hold a NUL byte')
  const escaped = value
    .replaceAll('%', '%%')
    .replace(/[\\"]/g, '\\$&')
    .replace(
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is escaped
      /[\u0001-\u001f\u007f]/g,
      (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
    )
  return /^[\w./:=@,+-]+$/.test(escaped) ? escaped : `"${escaped}"`
}

/** `WorkingDirectory=` is taken to the end of the line: no quotes, no escapes, but specifiers. */
function systemdPath(path: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (/[\u0000-\u001f\u007f]|\\$|\s$/.test(path)) {
    const message = `a systemd unit cannot hold the directory ${JSON.stringify(path)}`
    throw new ProxyError('config', message, {
      hint: 'Run "service install" in a directory with a plainer name.',
    })
  }
  return path.replaceAll('%', '%%')
}

type PlistValue = string | number | boolean | readonly PlistValue[] | PlistDictionary
interface PlistDictionary {
  readonly [key: string]: PlistValue
}

function plist(value: PlistValue, indent = ''): string {
  const deeper = `${indent}  `
  if (typeof value === 'string') return `${indent}<string>${xmlText(value)}</string>`
  if (typeof value === 'number') return `${indent}<integer>${value}</integer>`
  if (typeof value === 'boolean') return `${indent}<${value}/>`
  if (isList(value)) {
    return [
      `${indent}<array>`,
      ...value.map((item) => plist(item, deeper)),
      `${indent}</array>`,
    ].join('\n')
  }
  const entries = Object.entries(value).flatMap(([key, item]) => [
    `${deeper}<key>${xmlText(key)}</key>`,
    plist(item, deeper),
  ])
  return [`${indent}<dict>`, ...entries, `${indent}</dict>`].join('\n')
}

function isList(value: PlistValue): value is readonly PlistValue[] {
  return Array.isArray(value)
}

function xmlText(value: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: XML 1.0 has no way to write them
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/.test(value)) {
    throw new ProxyError('config', `a launchd agent cannot hold the value ${JSON.stringify(value)}`)
  }
  // A carriage return in XML text is read as a newline unless it is written as a reference.
  return value
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('\r', '&#13;')
}
