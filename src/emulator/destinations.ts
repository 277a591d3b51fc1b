/** Where host names lead: what the certificates, DNS and the front door of the emulator know. */

import type { Branch, Endpoint, Instance, Inventory } from './inventory.js'

export type Destination =
  | { readonly kind: 'provisioned'; readonly host: string; readonly instance: Instance }
  | {
      readonly kind: 'autoscaling'
      readonly host: string
      readonly branch: Branch
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
  for (const branch of inventory.projects.flatMap((project) => project.branches)) {
    found.push(...branchDestinations(branch))
  }
  return found
}

export function branchDestinations(branch: Branch): Destination[] {
  return branch.endpoints.flatMap((endpoint) => {
    const to = { kind: 'autoscaling', branch, endpoint } as const
    return [
      { ...to, host: endpoint.host, pooled: false },
      { ...to, host: endpoint.pooledHost, pooled: true },
    ]
  })
}

export function endpoints(inventory: Inventory): Endpoint[] {
  return inventory.projects.flatMap((project) => project.branches.flatMap((each) => each.endpoints))
}
