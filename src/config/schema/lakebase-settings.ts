/** The rows of the table for the side of the server: the workspace, the database, its branches. */

import {
  DEFAULT_PORT_ONLY,
  DIALS,
  FREE,
  once,
  only,
  PROTECTION,
  perTarget,
  TRUST,
} from './setting.js'
import {
  branchSource,
  choice,
  dnsServers,
  duration,
  ipAddress,
  portNumber,
  switched,
  text,
  wholeNumber,
} from './values.js'
import { workspaceUrl } from './workspace-url.js'

export const LAKEBASE_SETTINGS = {
  database: perTarget({
    kind: text('name'),
    default: 'databricks_postgres',
    help: "the database when the client names none, or one that is its user's name and does not exist",
    dotenv: FREE,
  }),
  user: perTarget({
    kind: text('role'),
    default: 'identity',
    help: 'role to log in as: identity (of the workspace), client (what the client typed), or a name',
    dotenv: FREE,
    into: 'login',
  }),
  'read-only': perTarget({
    kind: switched,
    default: 'false',
    help: 'use the read-only host',
    dotenv: only(true),
  }),
  group: perTarget({
    kind: text('name'),
    help: "log in as this workspace group's role (Autoscaling)",
    dotenv: FREE,
    into: 'login',
  }),
  'token-ttl': perTarget({
    kind: duration(5 * 60_000, 60 * 60_000),
    help: 'life to ask for a token, 5m to 1h (Autoscaling); else the server decides',
    dotenv: FREE,
  }),
  'databricks-host': perTarget({
    kind: workspaceUrl,
    help: "the workspace; else DATABRICKS_HOST or the profile's",
    dotenv: FREE,
  }),
  profile: perTarget({
    kind: text('name'),
    help: 'profile of ~/.databrickscfg; else DATABRICKS_CONFIG_PROFILE',
    dotenv: FREE,
  }),
  sslmode: perTarget({
    kind: choice('mode', 'verify-full', 'verify-ca', 'require'),
    default: 'verify-full',
    help: 'verify-full, verify-ca (not the name) or require (nothing: needs unsafe-sslmode-require)',
    dotenv: only('verify-full'),
    into: 'verify',
  }),
  'unsafe-sslmode-require': once({
    kind: switched,
    default: 'false',
    help: 'allow sslmode=require, which anybody on the way can read',
    dotenv: PROTECTION,
    reload: 'at once',
  }),
  sslrootcert: perTarget({
    kind: text('file', true),
    help: "CA certificates (PEM); else Node's, NODE_EXTRA_CA_CERTS and the system's",
    dotenv: TRUST,
  }),
  hostaddr: perTarget({
    kind: ipAddress,
    help: 'address to dial; the host stays the name that is verified',
    dotenv: DIALS,
  }),
  'upstream-port': perTarget({
    kind: portNumber(1),
    default: '5432',
    help: 'port to dial',
    dotenv: DEFAULT_PORT_ONLY,
  }),
  resolver: once({
    kind: dnsServers,
    help: "DNS servers to ask when the system's lookup fails or takes 1 s; else the system's, directly",
    dotenv: DIALS,
    into: 'resolver',
    reload: 'all targets',
  }),
  'auto-start': perTarget({
    kind: switched,
    default: 'false',
    help: 'start a stopped Provisioned instance when a client connects',
    dotenv: FREE,
  }),
  warm: perTarget({
    kind: wholeNumber('count', 100),
    default: '0',
    help: 'spare logged-in connections held ready for the next clients',
    dotenv: FREE,
  }),
  'warm-ttl': perTarget({
    kind: duration(1000),
    default: '30s',
    help: 'how long after the last use they are held',
    dotenv: FREE,
  }),
}

export const BRANCH_SETTINGS = {
  'branch-from': once({
    kind: branchSource,
    help: 'work on a new branch of projects/P[/branches/B], which is deleted at the end',
    dotenv: FREE,
    into: 'newBranch',
    reload: 'restart',
  }),
  'branch-ttl': once({
    kind: duration(5_000, 30 * 24 * 3_600_000),
    default: '2h',
    help: 'its life, extended while the proxy runs: when the proxy is gone, so is the branch',
    dotenv: FREE,
    into: 'newBranch',
    reload: 'restart',
  }),
  'follow-git': perTarget({
    kind: choice('how', 'off', 'existing', 'create'),
    default: 'off',
    help: 'serve the branch that belongs to the git branch of the working folder; create: make it, for 7 days',
    dotenv: FREE,
    into: 'followGit',
  }),
  'keep-branch': once({
    kind: switched,
    default: 'false',
    help: 'keep it for 7 days instead, or for as long as the workspace allows',
    dotenv: FREE,
    into: 'newBranch',
    reload: 'restart',
  }),
}
