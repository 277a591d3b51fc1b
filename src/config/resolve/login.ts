/** Which role sessions log in as: decided once from `user`, `group` and the user of a static URL. */

import { quoted } from '../../core/plain-text.js'
import type { Target } from '../schema/target-text.js'
import type { TargetLookup } from './setting-lookup.js'
import type { Login } from './settings.js'

export function loginOf(lookup: TargetLookup): Login {
  const { target } = lookup.known
  const { user, group } = lookup.values
  if (lookup.values['local-auth'] === 'databricks') {
    for (const name of ['user', 'group'] as const) {
      if (lookup.find(name) === undefined) continue
      lookup.refuse(
        name,
        `with local-auth=databricks the role is the identity of each client, and not set by ${name}`,
        'Leave it out. Clients name a group of theirs as ROLE~group.',
      )
    }
    return { as: 'person' }
  }
  if (group !== undefined && target.kind !== 'static') {
    const written = lookup.find('user')
    const contradicts = written !== undefined && user !== group
    if (contradicts && written.rank <= lookup.find('group')!.rank) {
      lookup.refuse(
        'user',
        `user ${quoted(user, 'that was set')} cannot log in with the token of group ${quoted(group, 'that was set')}`,
        "Leave user out: with group it is the group's role.",
      )
    }
    return { as: 'group', name: group }
  }
  if (user === 'client') return { as: 'client' }
  if (user !== 'identity') return { as: 'role', name: user }
  return target.kind === 'static' ? { as: 'role', name: target.user } : { as: 'identity' }
}

/** The role, as far as it is known: undefined while the workspace has not said, or each client will. */
export function roleOf(login: Login, identity: string | undefined): string | undefined {
  switch (login.as) {
    case 'identity':
      return identity
    case 'client':
    case 'person':
      return undefined
    case 'role':
    case 'group':
      return login.name
  }
}

/** The role, or with `user=client` the role that a client is most likely to name. */
export function likelyRoleOf<Identity extends string | undefined>(
  { login, target }: { readonly login: Login; readonly target: Target },
  identity: Identity,
): string | Identity {
  switch (login.as) {
    case 'role':
    case 'group':
      return login.name
    case 'person':
      return 'token' // the role is that of the person whose token the password is
    case 'identity':
    case 'client':
      return target.kind === 'static' ? target.user : identity
  }
}
