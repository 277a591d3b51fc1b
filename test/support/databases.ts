/** One database of each kind, as the workspace describes it. */

import type { LakebaseDatabase } from '../../src/databricks/lakebase/workspace.js'

const common = {
  uid: undefined,
  readWriteHost: 'h',
  readOnlyHost: undefined,
  state: 'available',
  apiState: 'X',
  branchCreatedAt: undefined,
} as const
export const provisioned: LakebaseDatabase = { ...common, kind: 'provisioned', name: 'inst' }
export const autoscaling: LakebaseDatabase = {
  ...common,
  kind: 'autoscaling',
  name: 'projects/p/branches/b/endpoints/e',
}
