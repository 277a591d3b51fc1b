/** Names for the calls of the workspace API, for counting them and for faults. */

import type { ServerResponse } from 'node:http'

import type { ReceivedCall } from '../../src/emulator/workspace-api.js'
import { ID_TOKEN_SUBJECT } from '../../src/emulator/workspace-oidc.js'

export type ApiName = keyof typeof PATTERNS | 'unknown'

/** Method and path. The first that fits counts. */
const PATTERNS = {
  'databricks-config': /^GET \/\.well-known\/databricks-config$/,
  'oidc-discovery': /^GET \/oidc\/\.well-known\/oauth-authorization-server$/,
  'oidc-token': /^POST \/oidc\/v1\/token$/,
  'github-id-token': /^GET \/emulator\/github-id-token$/,
  me: /^GET \/api\/2\.0\/preview\/scim\/v2\/Me$/,
  credentials: /^POST \/api\/2\.0\/(database|postgres)\/credentials$/,
  'synced-table': /^(GET|PATCH|DELETE) \/api\/2\.0\/(database|postgres)\/synced_tables\/[^/]+$/,
  'synced-tables': /synced_tables$/,
  instances: /^GET \/api\/2\.0\/database\/instances$/,
  'instance-by-uid': /^GET \/api\/2\.0\/database\/instances:findByUid$/,
  instance: /^GET \/api\/2\.0\/database\/instances\/[^/]+$/,
  'instance-update': /^PATCH \/api\/2\.0\/database\/instances\/[^/]+$/,
  roles: /^GET .*\/roles$/,
  role: /^GET .*\/roles\/[^/]+$/,
  operation: /^GET .*\/operations\/[^/]+$/,
  projects: /^GET \/api\/2\.0\/postgres\/projects$/,
  project: /^GET \/api\/2\.0\/postgres\/projects\/[^/]+$/,
  branches: /^GET .*\/branches$/,
  branch: /^GET .*\/branches\/[^/]+$/,
  'branch-create': /^POST .*\/branches$/,
  'branch-update': /^PATCH .*\/branches\/[^/]+$/,
  'branch-delete': /^DELETE .*\/branches\/[^/]+$/,
  'branch-undelete': /^POST .*\/undelete$/,
  endpoints: /^GET .*\/endpoints$/,
  endpoint: /^GET .*\/endpoints\/[^/]+$/,
  'endpoint-update': /^PATCH .*\/endpoints\/[^/]+$/,
  'endpoint-delete': /^DELETE .*\/endpoints\/[^/]+$/,
  databases: /^GET .*\/databases$/,
  database: /^GET .*\/databases\/[^/]+$/,
} as const

export function apiNameOf({ method, url }: ReceivedCall): ApiName {
  const asked = `${method} ${url.split('?')[0]}`
  const found = Object.entries(PATTERNS).find(([, pattern]) => pattern.test(asked))
  return (found?.[0] as ApiName | undefined) ?? 'unknown'
}

/** The bearer that a GitHub Actions job would hold to ask for its ID token. */
const GITHUB_REQUEST_TOKEN = 'github-actions-request-token'

/** Answers as GitHub would: with an ID token of an issuer that the emulator's federation policy knows. */
export function githubIdToken({ url, headers }: ReceivedCall, response: ServerResponse): void {
  if (headers.authorization?.toString().toLowerCase() !== `bearer ${GITHUB_REQUEST_TOKEN}`) {
    response.writeHead(401).end('{}')
    return
  }
  const audience = new URL(url, 'http://github').searchParams.get('audience') ?? 'none'
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = { iss: 'https://token.example.com', sub: ID_TOKEN_SUBJECT, aud: audience }
  const value = `${part({ alg: 'none', typ: 'JWT' })}.${part(claims)}.c2lnbmF0dXJl`
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ value }))
}
