/** `status`: what a running proxy says of itself, for people or as JSON. */

import { ProxyError } from '../../core/errors.js'
import { oneLine, shownJson } from '../../core/plain-text.js'
import type { ProxyStatus, TargetStatus } from '../../observe/status.js'
import type { Invocation } from '../cli/command.js'
import { AdminClient } from './admin-client.js'
import { workspaceLine } from './banner.js'

type Status = ProxyStatus & { readonly version: string }

/** Errors: kind `dial`, when no proxy answers. */
export async function showStatus(invocation: Invocation): Promise<number> {
  const { stdout } = invocation.surroundings
  const client = await AdminClient.of(invocation)
  const { body } = await client.ask('/status')
  if (!isStatus(body)) {
    throw new ProxyError('target', `what answers at ${client.url} is no lakebase-proxy`, {
      hint: 'Name the port of yours with --admin-port: its log says which it is.',
    })
  }
  stdout.write(
    invocation.options.has('json') ? `${shownJson(body)}\n` : `${statusText(body, client.url)}\n`,
  )
  return 0
}

/** Whole lines but for the last line's end. */
function statusText(status: Status, url: string): string {
  const { version, now, startedAt, targets } = status
  const lines = [
    `lakebase-proxy ${version}, ${stateWord(status)}, up for ${inWords(now - startedAt)}`,
    `status page ${url}`,
    ...targets.flatMap((target) => ['', ...targetLines(target, now)]),
  ]
  const [latest] = status.errors
  if (latest !== undefined) {
    const times = latest.count > 1 ? `, ${latest.count} times` : ''
    lines.push('', `latest error, ${inWords(now - latest.at)} ago${times}: ${latest.message}`)
    if (latest.hint !== undefined) lines.push(`hint: ${latest.hint}`)
  }
  return lines.map(oneLine).join('\n')
}

function isStatus(body: object): body is Status {
  return 'phase' in body && 'targets' in body && 'version' in body
}

function stateWord({ phase, ready }: Status): string {
  if (phase !== 'running') return phase
  return ready ? 'ready' : 'not ready'
}

function targetLines(target: TargetStatus, now: number): string[] {
  const { totals, sessionsLimit, sessionsOpen } = target
  const limit = sessionsLimit > 0 ? ` of ${sessionsLimit}` : ''
  const role = target.roleOfClient ? 'the user that each client names' : target.role
  const lines = [
    `${target.name}: ${target.state}`,
    ...(target.state === 'ready' ? [] : [`  ${target.words}`]),
    ...(target.hint === undefined ? [] : [`  hint: ${target.hint}`]),
    `  at        ${target.addresses.join(', ')}`,
    `  as        ${role ?? 'not known yet'}`,
    ...workspaceLine(target, '  '),
    `  token     ${tokenWords(target, now)}`,
    `  sessions  ${sessionsOpen}${limit} open, ${totals.connected} so far, ${totals.failed} failed`,
    `  paste     ${target.connect.psql}`,
  ]
  return lines
}

function tokenWords({ credential }: TargetStatus, now: number): string {
  const { method, issuedAt, expiresAt } = credential
  if (method === 'password') return 'none: the password of the URL'
  if (expiresAt === undefined) return 'none yet'
  if (expiresAt <= now) return `expired ${inWords(now - expiresAt)} ago`
  const refreshed = issuedAt === undefined ? '' : `, refreshed ${inWords(now - issuedAt)} ago`
  return `good for ${inWords(expiresAt - now)}${refreshed}`
}

function inWords(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 120) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 120) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d`
}
