/** What the banner and `status` both say of a target: where it is, and whom its clients log in as. */

import type { TargetStatus } from '../../observe/status.js'

export function targetLines(target: TargetStatus, indent: string): string[] {
  const { name, addresses, userMatters, connect, database, serves, readOnly, workspace } = target
  const lines = [
    `at        ${addresses.join(', ')}`,
    `user      ${userMatters ? connect.fields.username : 'any'}`,
    `database  ${database}`,
    `as        ${asWhom(target)}`,
  ]
  if (serves !== undefined && serves !== name) {
    lines.splice(3, 0, `serves    ${serves}${readOnly ? ', read-only' : ''}`)
  }
  // Two instances of one name must not look alike.
  if (workspace !== undefined) {
    const profile = workspace.profile === undefined ? '' : ` (profile ${workspace.profile})`
    lines.push(`in        ${workspace.workspace}${profile}`)
  }
  return lines.map((line) => indent + line)
}

function asWhom({ role, roleOfClient, localAuth }: TargetStatus): string {
  if (localAuth === 'databricks') return 'the Databricks identity of each client'
  if (roleOfClient) return 'the user that each client names'
  return role ?? 'the identity signed in to the workspace'
}
