/** The Postgres roles of a database, so that `doctor` can say why a login fails. */

import { z } from 'zod'
import { unlessRefused } from './api-error.js'
import { branchNameOf, POSTGRES } from './autoscaling.js'
import { apiPath, type WorkspaceClient } from './client.js'
import { listAll } from './pages.js'
import type { LakebaseDatabase } from './workspace.js'

export interface DatabaseRole {
  /** The name, as in `user=`. */
  readonly name: string
  /** How it logs in: a Databricks identity's token, a native password, or not at all. */
  readonly login: 'token' | 'password' | 'none' | 'unknown'
}

/** Undefined when we have no permission to ask, which must not fail the command. */
export async function listRoles(
  client: WorkspaceClient,
  database: LakebaseDatabase,
): Promise<DatabaseRole[] | undefined> {
  return unlessRefused(rolesOf(client, database), 403, 404, 501)
}

async function rolesOf(
  client: WorkspaceClient,
  { kind, name: database }: LakebaseDatabase,
): Promise<DatabaseRole[]> {
  const what = `list the roles of "${database}"`
  if (kind === 'provisioned') {
    const path = apiPath('/api/2.0/database/instances', database, 'roles')
    const field = 'database_instance_roles'
    const roles = await listAll(client, { path, field, item: InstanceRole, what })
    return roles.map(({ name, identity_type: type }) => ({
      name,
      login: type === 'PG_ONLY' ? 'password' : 'token',
    }))
  }
  const path = apiPath(POSTGRES, branchNameOf(database), 'roles')
  const roles = await listAll(client, { path, field: 'roles', item: BranchRole, what })
  return roles.map(normalize)
}

const InstanceRole = z.object({ name: z.string(), identity_type: z.string().nullish() })

const RoleFields = z
  .object({ postgres_role: z.string().nullish(), auth_method: z.string().nullish() })
  .nullish()
const BranchRole = z.object({ name: z.string(), spec: RoleFields, status: RoleFields })

function normalize({ name, spec, status }: z.infer<typeof BranchRole>): DatabaseRole {
  const method = status?.auth_method ?? spec?.auth_method ?? ''
  return {
    name: status?.postgres_role ?? spec?.postgres_role ?? name.replace(/^.*\//, ''),
    login: LOGINS[method] ?? 'unknown',
  }
}

const LOGINS: Readonly<Record<string, DatabaseRole['login']>> = {
  LAKEBASE_OAUTH_V1: 'token',
  PG_PASSWORD_SCRAM_SHA_256: 'password',
  NO_LOGIN: 'none',
}
