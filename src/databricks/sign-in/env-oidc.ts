/** `env-oidc`: an ID token in a variable, DATABRICKS_OIDC_TOKEN or the one named by the settings. */

import { ProxyError } from '../../core/errors.js'
import { Secret } from '../../core/secret.js'
import { withoutLineBreak } from './databricks-config.js'
import type { SignInMethod } from './sign-in-method.js'
import { federationHint, idTokenSignIn } from './token-exchange.js'

const DEFAULT_VARIABLE = 'DATABRICKS_OIDC_TOKEN'

export const envOidc: SignInMethod = {
  type: 'env-oidc',
  attributes: [{ name: 'oidc_token_env', env: ['DATABRICKS_OIDC_TOKEN_ENV'], family: 'env-oidc' }],
  shares: ['client_id'],
  needs: `an ID token in ${DEFAULT_VARIABLE}, or in the variable that DATABRICKS_OIDC_TOKEN_ENV names`,
  configure(config, env) {
    const variable = config.get('oidc_token_env') ?? DEFAULT_VARIABLE
    if ((env[variable] ?? '') === '') return undefined
    const source = {
      what: `the ID token in ${variable}`,
      hint: `${federationHint(config)} The token in ${variable} may also have expired.`,
      async read() {
        const token = withoutLineBreak(env[variable] ?? '')
        if (token !== '') return new Secret(token)
        throw new ProxyError('identity', `${variable} no longer holds an ID token`)
      },
    }
    return idTokenSignIn(source, config)
  },
}
