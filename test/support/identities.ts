/** Further identities of the emulated workspace, which tests sign in as. */

import type { Identity } from '../../src/emulator/inventory.js'

export const otherUser: Identity = {
  userName: 'grace@example.com',
  displayName: 'Grace Hopper',
  kind: 'user',
  pat: 'dapi000000000000000000000000000grace',
  groups: [],
  hasRole: true,
  projectRight: 'CAN_USE',
}

/** Signs in to the workspace, but has no role in the databases. */
export const userWithoutRole: Identity = {
  userName: 'nora@example.com',
  displayName: 'Nora Norole',
  kind: 'user',
  pat: 'dapi0000000000000000000000000000nora',
  groups: [],
  hasRole: false,
  projectRight: 'CAN_USE',
}
