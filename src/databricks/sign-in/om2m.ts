/** `oauth-m2m`: a service principal's client id and secret, by the client credentials grant. */

import { discoverAuthorizationServer, requestToken, unencodedBasic } from './oidc.js'
import type { SignInMethod } from './sign-in-method.js'

export const oauthM2m: SignInMethod = {
  type: 'oauth-m2m',
  attributes: [
    { name: 'client_id', env: ['DATABRICKS_CLIENT_ID'], family: 'oauth' },
    { name: 'client_secret', env: ['DATABRICKS_CLIENT_SECRET'], family: 'oauth', sensitive: true },
  ],
  needs: 'DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET',
  configure(config) {
    const clientId = config.get('client_id')
    const clientSecret = config.secret('client_secret')
    if (clientId === undefined || clientSecret === undefined) return undefined
    const hint = `Check ${config.sourceOf('client_id')} and ${config.sourceOf('client_secret')}: the secret may have expired, or the service principal may not be in this workspace.`
    return {
      hint,
      async fetchToken(call) {
        const server = await discoverAuthorizationServer(config, call)
        return requestToken(
          server,
          {
            client: { client_id: clientId },
            clientAuth: unencodedBasic(clientId, clientSecret),
            grantType: 'client_credentials',
            parameters: { scope: config.scopes },
            what: `the client secret of ${clientId}`,
            hint,
          },
          call,
        )
      },
    }
  },
}
