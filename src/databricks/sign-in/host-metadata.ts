/** What a workspace host says of itself at `/.well-known/databricks-config`: its account and issuer. */

import { z } from 'zod'

import { ProxyError } from '../../core/errors.js'
import type { ConfigWithHost, TokenCall } from './sign-in-method.js'
import { readJson } from './token-reply.js'

const HostMetadata = z.object({
  oidc_endpoint: z.string().nullish().catch(undefined),
  account_id: z.string().nullish().catch(undefined),
  host_type: z.string().nullish().catch(undefined),
  token_federation_default_oidc_audiences: z.array(z.string()).nullish().catch(undefined),
})
type HostMetadata = z.infer<typeof HostMetadata>

/** Older hosts have none: then everything is unknown. */
export async function hostMetadata(
  config: ConfigWithHost,
  { http, signal }: TokenCall,
): Promise<HostMetadata> {
  const url = new URL('/.well-known/databricks-config', config.host)
  const reply = await http.send({ url, signal })
  return (reply.status === 200 ? readJson(reply.text, HostMetadata) : undefined) ?? {}
}

/**
 * For whom an ID token is asked for, as the SDKs choose: the one that was set, else the host's first
 * default, else on a host of an account the account's id, else the token endpoint.
 */
export async function federationAudience(
  config: ConfigWithHost,
  tokenEndpoint: string | undefined,
  call: TokenCall,
): Promise<string> {
  const set = config.get('audience')
  if (set !== undefined) return set
  const metadata = await hostMetadata(config, call).catch((error: unknown) => {
    if (call.signal.aborted || !(error instanceof ProxyError)) throw error
    return {} as HostMetadata
  })
  const [first] = metadata.token_federation_default_oidc_audiences ?? []
  if (first !== undefined && first !== '') return first
  const ofAccount = ['ACCOUNT_HOST', 'UNIFIED_HOST'].includes(metadata.host_type ?? '')
  const accountId = config.accountId ?? (metadata.account_id || undefined)
  return (ofAccount ? accountId : undefined) ?? tokenEndpoint ?? config.host
}
