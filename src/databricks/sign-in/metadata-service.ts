/**
 * `metadata-service`: a local program, such as Databricks' VS Code extension, that hands out tokens
 * over HTTP on this machine.
 */

import { ProxyError } from '../../core/errors.js'
import { isLoopback } from '../../core/loopback.js'
import { type SignInMethod, workspaceToken } from './sign-in-method.js'
import { EpochToken, readTokenReply } from './token-reply.js'

export const metadataService: SignInMethod = {
  type: 'metadata-service',
  attributes: [
    {
      name: 'metadata_service_url',
      env: ['DATABRICKS_METADATA_SERVICE_URL'],
      family: 'metadata-service',
      sensitive: true,
    },
  ],
  needs: 'DATABRICKS_METADATA_SERVICE_URL',
  configure(config) {
    const text = config.get('metadata_service_url')
    if (text === undefined) return undefined
    const source = config.sourceOf('metadata_service_url')
    const url = URL.canParse(text) ? new URL(text) : undefined
    if (url === undefined || !isLoopback(url.hostname)) {
      throw new ProxyError('config', `${source} is not a URL on this machine`, {
        hint: 'The program that runs the metadata service sets it; unset it if there is no such program.',
      })
    }
    const hint = `Is the program still running that set ${source}?`
    return {
      hint,
      async fetchToken({ http, clock, signal }) {
        const headers = { 'x-databricks-metadata-version': '1', 'x-databricks-host': config.host }
        const reply = await http.send({ url, headers, signal })
        const gave = `the metadata service gave no token for ${config.host}`
        const token = readTokenReply(reply, EpochToken, gave, hint)
        return workspaceToken(token.access_token, token.expires_on * 1000, clock)
      },
    }
  },
}
