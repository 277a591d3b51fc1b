/** `status`: what the running proxies say of themselves, for people or as JSON. */

import { roughly } from '../../branches/rough-time.js'
import { ProxyError } from '../../core/errors.js'
import { oneLine, shownJson } from '../../core/plain-text.js'
import type { ProxyStatus, TargetStatus } from '../../observe/status.js'
import type { Invocation } from '../invocation/command.js'
import type { AdminClient } from './admin-client.js'
import { type AskedProxy, askedProxies, clientOf, describe } from './asked-proxies.js'
import { targetLines } from './target-lines.js'

type Status = ProxyStatus & { readonly version: string }

/**
 * 1 when one of several does not answer; it hides none of the others. Errors: those of `askedProxies`;
 * when only one is asked, `dial`, `target`, and with `--json` `config` for a proxy without an admin port.
 */
export async function showStatus(invocation: Invocation): Promise<number> {
  const proxies = await askedProxies(invocation)
  const [named] = invocation.operands
  const isJson = invocation.options.has('json')
  const answers = await Promise.all(proxies.map(answerOf))
  const [first, ...others] = answers
  const fails = ({ client }: AskedProxy): boolean => isJson || client !== undefined
  if (first?.problem !== undefined && others.length === 0 && fails(first.proxy)) throw first.problem
  const objects = answers.map(({ status, problem, proxy: { file } }) => {
    if (status !== undefined) return status
    const targets = file?.targets.map(({ name }) => ({ name })) ?? []
    return { error: problem?.message, hint: problem?.hint, targets }
  })
  const texts = answers.map(({ status, problem, proxy }) =>
    status === undefined ? unasked(proxy, problem) : statusText(only(named, status), proxy),
  )
  const json = objects.length === 1 ? objects[0] : objects
  invocation.surroundings.stdout.write(`${isJson ? shownJson(json) : texts.join('\n\n')}\n`)
  return answers.some(({ proxy, problem }) => proxy.client && problem) ? 1 : 0
}

interface Answered {
  readonly proxy: AskedProxy
  readonly status?: Status
  /** Why there is no status. */
  readonly problem?: ProxyError
}

async function answerOf(proxy: AskedProxy): Promise<Answered> {
  try {
    return { proxy, status: await statusOf(clientOf(proxy)) }
  } catch (error) {
    if (error instanceof ProxyError) return { proxy, problem: error }
    throw error
  }
}

function unasked(proxy: AskedProxy, problem: ProxyError | undefined): string {
  if (proxy.client === undefined) return `lakebase-proxy without an admin port: ${describe(proxy)}`
  return `lakebase-proxy without an answer: ${describe(proxy)}\nhint: ${problem?.hint}`
}

async function statusOf(client: AdminClient): Promise<Status> {
  const { body } = await client.ask('/status')
  if (!isStatus(body)) throw client.stranger()
  return body
}

/** All targets when `named` is not a target's name: then it is a branch or a TARGET text. */
function only(named: string | undefined, status: Status): Status {
  const targets = status.targets.filter(({ name }) => name === named)
  return targets.length === 0 ? status : { ...status, targets }
}

/** Lines, without the last line break. */
function statusText(status: Status, { client, file }: AskedProxy): string {
  const { version, now, startedAt, targets } = status
  const process = file === undefined ? '' : `, pid ${file.process.pid}`
  const lines = [
    `lakebase-proxy ${version}, ${stateWord(status)}, up for ${roughly(now - startedAt)}${process}`,
    `status page ${client?.address}`,
    ...targets.flatMap((target) => ['', ...section(target, now)]),
  ]
  const [latest] = status.errors
  if (latest !== undefined) {
    const times = latest.count > 1 ? `, ${latest.count} times` : ''
    lines.push('', `latest error, ${roughly(now - latest.at)} ago${times}: ${latest.message}`)
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

function section(target: TargetStatus, now: number): string[] {
  const { totals, sessionsLimit, sessionsOpen } = target
  const limit = sessionsLimit > 0 ? ` of ${sessionsLimit}` : ''
  return [
    `${target.name}: ${target.state}`,
    ...(target.state === 'ready' ? [] : [`  ${target.words}`]),
    ...(target.hint === undefined ? [] : [`  hint: ${target.hint}`]),
    ...targetLines(target, '  '),
    `  token     ${tokenWords(target, now)}`,
    `  sessions  ${sessionsOpen}${limit} open, ${totals.connected} so far, ${totals.failed} failed`,
    `  paste     ${target.connect.psql}`,
  ]
}

function tokenWords({ credential }: TargetStatus, now: number): string {
  const { method, issuedAt, expiresAt } = credential
  if (method === 'password') return 'none: the password of the URL'
  if (expiresAt === undefined) return 'none yet'
  if (expiresAt <= now) return `expired ${roughly(now - expiresAt)} ago`
  const refreshed = issuedAt === undefined ? '' : `, refreshed ${roughly(now - issuedAt)} ago`
  return `good for ${roughly(expiresAt - now)}${refreshed}`
}
