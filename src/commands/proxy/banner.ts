/**
 * The text on a terminal when the proxy has started: each target, its address and role, and a line to
 * paste.
 */

import { oneLine } from '../../core/plain-text.js'
import type { ProxyStatus, TargetStatus } from '../../observe/status.js'
import { targetLines } from '../running/target-lines.js'

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
  const lines = proxy.status().targets.flatMap(section)
  if (proxy.adminUrl !== undefined) lines.push(`  status page ${proxy.adminUrl}`)
  if (proxy.localCaFile !== undefined) lines.push(`  CA of TLS   ${proxy.localCaFile}`)
  return `\n${lines.map(oneLine).join('\n')}\n\n`
}

function section(target: TargetStatus): string[] {
  // A target that does not exist is told here, and not only to its first client.
  const isWrong = target.state === 'unavailable' || target.state === 'degraded'
  const marked = isWrong ? 'WARNING   ' : 'state     '
  const lines = [
    `  ${target.name}`,
    `    ${marked}${target.words}${target.apiState === undefined ? '' : ` (${target.apiState})`}`,
    ...targetLines(target, '    '),
    `    password  ${PASSWORDS[target.localAuth]}`,
    `    paste     ${target.connect.psql}`,
  ]
  if (target.hint !== undefined) lines.splice(2, 0, `    hint      ${target.hint}`)
  return [...lines, '']
}
