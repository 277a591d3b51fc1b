/** What the user may name as a TARGET, told apart by its form alone; nothing is looked up here. */

import type { Secret } from '../log.js'

export type Target =
  | { readonly kind: 'provisioned'; readonly instance: string }
  | {
      readonly kind: 'autoscaling'
      readonly project: string
      readonly branch?: string
      readonly endpoint?: string
    }
  /** A Lakebase host name, whose instance or endpoint is looked up. */
  | { readonly kind: 'host'; readonly host: string }
  /** A native Postgres role and password: no workspace is asked. */
  | {
      readonly kind: 'static'
      readonly host: string
      readonly user: string
      readonly password: Secret
      readonly channelBinding: 'require' | 'prefer' | 'disable'
    }
