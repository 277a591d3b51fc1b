/**
 * `metadata-service`: a local program, such as Databricks' VS Code extension, that hands out tokens
 * over HTTP on this machine.
 */

import { z } from 'zod'

import { ProxyError } from '../../core/errors.js'
import { isLoopback } from '../../core/loopback.js'
import { plainText } from '../../core/plain-text.js'
import { type SignInMethod, workspaceToken } from './sign-in-method.js'

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
  configure(config, deps) {
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
      async fetchToken(signal) {
        const headers = { 'x-databricks-metadata-version': '1', 'x-databricks-host': config.host }
        const reply = await deps.http.send({ url, headers, signal })
        const token = reply.status === 200 ? readToken(reply.text) : undefined
        if (token === undefined) {
          const why = reply.status === 200 ? 'no token in its reply' : plainText(reply.text)
          throw new ProxyError(
            'identity',
            `the metadata service gave no token for ${config.host}: HTTP status ${reply.status}: ${why}`,
            { hint },
          )
        }
        return workspaceToken(token.access_token, token.expires_on * 1000, deps.clock)
      },
    }
  },
}

/** `expires_on` is in seconds since the epoch, sometimes as text. */
const MetadataReply = z.object({
  access_token: z.string().min(1),
  expires_on: z.coerce.number(),
})

function readToken(text: string): z.infer<typeof MetadataReply> | undefined {
  try {
    return MetadataReply.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}
