/** Which role sessions log in as: decided once from `user`, `group` and the user of a static URL. */

import { quoted } from '../../core/plain-text.js'
import type { Values } from '../schema/table.js'
import type { Target } from '../schema/target-text.js'
import type { Problems } from '../sources/problems.js'
import type { KnownTarget } from './known-target.js'
import type { SettingLookup } from './setting-lookup.js'

export type Login =
  /** The role of the identity that is signed in to the workspace. */
  | { readonly as: 'identity' }
  /** The role that each client names. */
  | { readonly as: 'client' }
  /** Each client is its own identity, or a group of it: `local-auth=databricks`. */
  | { readonly as: 'person' }
  /** `group`: a token of the group's role, which logs in as no other. */
  | { readonly as: 'role' | 'group'; readonly name: string }

export function loginOf(
  known: KnownTarget,
  values: Values,
  lookup: SettingLookup,
  problems: Problems,
): Login {
  const { target } = known
  const { user, group } = values
  if (values['local-auth'] === 'databricks') {
    for (const name of ['user', 'group'] as const) {
      const written = lookup.find(name, known)
      if (written === undefined) continue
      problems.add(
        written.where,
        `with local-auth=databricks the role is the identity of each client, and not set by ${name}`,
        'Leave it out. Clients name a group of theirs as ROLE~group.',
      )
    }
    return { as: 'person' }
  }
  if (group !== undefined && target.kind !== 'static') {
    const written = lookup.find('user', known)
    const contradicts = written !== undefined && user !== group
    if (contradicts && written.rank <= lookup.find('group', known)!.rank) {
      problems.add(
        written.where,
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
