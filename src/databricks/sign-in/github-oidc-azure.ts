/** `github-oidc-azure`: a GitHub Actions job that Microsoft Entra ID trusts as a service principal. */

import { AZURE_ATTRIBUTES, DATABRICKS_RESOURCE, entraServer, isAzure } from './azure.js'
import { GITHUB_ATTRIBUTES, githubIdTokenReader } from './github-oidc.js'
import { requestToken } from './oidc.js'
import type { SignInMethod } from './sign-in-method.js'

/** Entra accepts ID tokens of other issuers for this audience only. */
const ENTRA_AUDIENCE = 'api://AzureADTokenExchange'

export const githubOidcAzure: SignInMethod = {
  type: 'github-oidc-azure',
  attributes: [...GITHUB_ATTRIBUTES, ...AZURE_ATTRIBUTES],
  needs:
    'a GitHub Actions job with "permissions: id-token: write", ARM_CLIENT_ID, ARM_TENANT_ID, and an Azure workspace',
  ambient: true,
  configure(config) {
    const readIdToken = githubIdTokenReader(config)
    const clientId = config.get('azure_client_id')
    const tenant = config.get('azure_tenant_id')
    // With a secret of its own it is `azure-client-secret`.
    const hasSecret = config.get('azure_client_secret') !== undefined
    if (!readIdToken || !clientId || !tenant || hasSecret || !isAzure(config)) return undefined
    const hint = `Give the Entra application ${clientId} a federated credential for this repository.`
    return {
      hint,
      async fetchToken(call) {
        const assertion = await readIdToken(async () => ENTRA_AUDIENCE, call)
        return requestToken(
          entraServer(config, tenant),
          {
            client: { client_id: clientId },
            clientAuth: (_server, client, body) => {
              body.set('client_id', client.client_id)
              body.set(
                'client_assertion_type',
                'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
              )
              body.set('client_assertion', assertion.reveal())
            },
            grantType: 'client_credentials',
            parameters: { resource: DATABRICKS_RESOURCE },
            what: 'the ID token of GitHub Actions',
            hint,
          },
          call,
        )
      },
    }
  },
}
