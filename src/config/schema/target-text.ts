/** What a TARGET is, and the pieces of its text, for both of its grammars: names with options, and URLs. */

import { ProxyError } from '../../core/errors.js'
import type { Secret } from '../../core/secret.js'
import type { TargetSettingName } from './table.js'

export type Target =
  | { readonly kind: 'provisioned'; readonly instance: string }
  | {
      readonly kind: 'autoscaling'
      readonly project: string
      readonly branch?: string
      readonly endpoint?: string
    }
  /** `projects/P/branches/*`: every branch of a project, of which a client chooses one. */
  | { readonly kind: 'branches'; readonly project: string }
  /** A Lakebase host name, whose instance or endpoint is looked up. */
  | { readonly kind: 'host'; readonly host: string }
  /** A native Postgres role and password: no workspace is asked. */
  | {
      readonly kind: 'static'
      readonly host: string
      readonly user: string
      readonly password: Secret
    }

/** The target that leads to `projects/P/branches/B`, as a workspace names a branch. */
export function branchTarget(name: string): Target {
  const [, project = '', , branch = ''] = name.split('/')
  return { kind: 'autoscaling', project, branch }
}

export interface ParsedTarget {
  /** As it was written, without its query and password. */
  readonly name: string
  readonly target: Target
  /** Settings of this target that stood in its query, or in its URL; not yet parsed. */
  readonly options: ReadonlyMap<TargetSettingName, string>
}

/** Called with a mistake that leaves the rest of the text readable. */
export type OnMistake = (mistake: ProxyError) => void

/** Reads each of `parts`: a mistake in one does not hide those in the others. */
export function readEach<T>(
  parts: readonly T[],
  onMistake: OnMistake,
  read: (part: T) => void,
): void {
  for (const part of parts) {
    try {
      read(part)
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error
      onMistake(error)
    }
  }
}

export function refuse(mistake: ProxyError): never {
  throw mistake
}

/** The host in lower case, or undefined when it is not one of Lakebase's. */
export function lakebaseHost(text: string): string | undefined {
  const host = text.toLowerCase().replace(/\.$/, '')
  // The domain differs by cloud, so it is not checked.
  return host.length <= 253 && /^(instance|ep)-[a-z0-9-]+\.database(\.[a-z0-9-]+)+$/.test(host)
    ? host
    : undefined
}

/** Percent-decoding alone: a `+` stays, for it is common in the names of users. */
export function decode(text: string, what: string): string {
  try {
    const decoded = decodeURIComponent(text)
    if (!decoded.includes('\0')) return decoded
  } catch {}
  throw malformed(`${what} is not percent-encoded rightly`, 'Write % itself as %25.')
}

export function cut(text: string, mark: string): [string, string | undefined] {
  const at = text.indexOf(mark)
  return at === -1 ? [text, undefined] : [text.slice(0, at), text.slice(at + mark.length)]
}

export function malformed(message: string, hint: string): ProxyError {
  return new ProxyError('config', message, { hint })
}
