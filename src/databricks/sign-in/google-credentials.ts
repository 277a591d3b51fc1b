/** `google-credentials`: the key of a Google service account, as JSON or as the path of such a file. */

import { readFile } from 'node:fs/promises'

import { ProxyError } from '../../core/errors.js'
import { decodeText } from '../../core/text-file.js'
import {
  GOOGLE_ATTRIBUTES,
  GOOGLE_SCOPES,
  googleWorkspaceToken,
  isGoogle,
  readServiceAccountKey,
  type ServiceAccountKey,
  tokenOfKey,
} from './google.js'
import type { SignInMethod } from './sign-in-method.js'

export const googleCredentials: SignInMethod = {
  type: 'google-credentials',
  attributes: GOOGLE_ATTRIBUTES,
  needs: 'GOOGLE_CREDENTIALS, and a workspace on Google Cloud',
  configure(config) {
    const given = config.secret('google_credentials')
    if (given === undefined || !isGoogle(config)) return undefined
    const source = config.sourceOf('google_credentials')
    return {
      hint: `Check the key that ${source} gives: it may be deleted, or its service account may not be in this workspace.`,
      async fetchToken(call) {
        const key = await readKey(given.reveal(), source)
        const [idToken, accessToken] = await Promise.all([
          tokenOfKey(key, { target_audience: config.host }, call),
          tokenOfKey(key, { scope: GOOGLE_SCOPES.join(' ') }, call),
        ])
        return googleWorkspaceToken(idToken, accessToken, call.clock)
      },
    }
  },
}

async function readKey(given: string, source: string): Promise<ServiceAccountKey> {
  const isJson = given.trimStart().startsWith('{')
  const bytes = isJson ? undefined : await readFile(given).catch(() => undefined)
  const text = bytes === undefined ? (isJson ? given : undefined) : decodeText(bytes, source)
  const key = text === undefined ? undefined : readServiceAccountKey(text)
  if (key !== undefined) return key
  throw new ProxyError('config', `${source} is not the key of a Google service account`, {
    detail: text === undefined ? 'It names no file that can be read.' : undefined,
    hint: 'Set it to the JSON of the key, or to the path of that file.',
  })
}
