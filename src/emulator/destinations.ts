/** Where host names lead: what the certificates, DNS and the front door of the emulator know. */

import type { Endpoint, Instance, Inventory } from './inventory.js'

export type Destination =
  | { readonly kind: 'provisioned'; readonly host: string; readonly instance: Instance }
  | {
      readonly kind: 'autoscaling'
      readonly host: string
      readonly endpoint: Endpoint
      /** Behind PgBouncer, which takes no tokens. */
      readonly pooled: boolean
    }

export function destinations(inventory: Inventory): Destination[] {
  const found: Destination[] = []
  for (const instance of inventory.instances) {
    for (const host of [instance.readWriteHost, instance.readOnlyHost]) {
      if (host !== undefined) found.push({ kind: 'provisioned', host, instance })
    }
  }
  for (const endpoint of endpoints(inventory)) {
    found.push({ kind: 'autoscaling', host: endpoint.host, endpoint, pooled: false })
    found.push({ kind: 'autoscaling', host: endpoint.pooledHost, endpoint, pooled: true })
  }
  return found
}

export function endpoints(inventory: Inventory): Endpoint[] {
  return inventory.projects.flatMap((project) => project.branches.flatMap((each) => each.endpoints))
}
