/** The text on a terminal when the proxy has started: each target, its address and role, and a line to paste. */

import { oneLine } from '../../core/plain-text.js'
import type { ProxyStatus, TargetStatus } from '../../observe/status.js'

export interface Started {
  status(): Pick<ProxyStatus, 'targets'>
  readonly adminUrl: string | undefined
  readonly localCaFile: string | undefined
}

const PASSWORDS: Record<TargetStatus['localAuth'], string> = {
  trust: 'none',
  password: 'the local password',
  databricks: "each client's own: a personal access token, or an OAuth secret",
}

/** Whole lines, for a terminal. */
export function banner(proxy: Started): string {
  const lines = proxy.status().targets.flatMap(targetLines)
  if (proxy.adminUrl !== undefined) lines.push(`  status page ${proxy.adminUrl}`)
  if (proxy.localCaFile !== undefined) lines.push(`  CA of TLS   ${proxy.localCaFile}`)
  return `\n${lines.map(oneLine).join('\n')}\n\n`
}

function targetLines(target: TargetStatus): string[] {
  // A target that does not exist is told here, and not only to its first client.
  const isWrong = target.state === 'unavailable' || target.state === 'degraded'
  const marked = isWrong ? 'WARNING   ' : 'state     '
  const lines = [
    `  ${target.name}`,
    `    ${marked}${target.words}${target.apiState === undefined ? '' : ` (${target.apiState})`}`,
    `    at        ${target.addresses.join(', ')}`,
    `    user      ${target.userMatters ? target.connect.fields.username : 'any'}`,
    `    database  ${target.database}`,
    `    as        ${asWhom(target)}`,
    ...workspaceLine(target, '    '),
    `    password  ${PASSWORDS[target.localAuth]}`,
    `    paste     ${target.connect.psql}`,
  ]
  if (target.hint !== undefined) lines.splice(2, 0, `    hint      ${target.hint}`)
  return [...lines, '']
}

export function asWhom({ role, roleOfClient, localAuth }: TargetStatus): string {
  if (localAuth === 'databricks') return 'the Databricks identity of each client'
  if (roleOfClient) return 'the user that each client names'
  return role ?? 'the identity signed in to the workspace'
}

/** Which workspace it is: two instances of one name must not look alike. */
export function workspaceLine({ workspace }: TargetStatus, indent: string): string[] {
  if (workspace === undefined) return []
  const profile = workspace.profile === undefined ? '' : ` (profile ${workspace.profile})`
  return [`${indent}in        ${workspace.workspace}${profile}`]
}
