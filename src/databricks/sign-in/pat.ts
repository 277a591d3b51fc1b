/** `pat`: a personal access token, sent as it is. */

import type { SignInMethod } from './sign-in-method.js'

export const pat: SignInMethod = {
  type: 'pat',
  attributes: [{ name: 'token', env: ['DATABRICKS_TOKEN'], family: 'pat', sensitive: true }],
  needs: 'DATABRICKS_TOKEN',
  configure(config) {
    const accessToken = config.secret('token')
    if (accessToken === undefined) return undefined
    return {
      fetchToken: async () => ({ accessToken, expiresAt: undefined }),
      hint: `The token of ${config.sourceOf('token')} may have expired, or belong to another workspace: make a new one in the workspace under Settings, Developer, Access tokens.`,
      fixed: true,
    }
  },
}
