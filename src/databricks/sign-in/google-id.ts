/**
 * `google-id`: a Google service account that the machine's or the user's own Google login may
 * impersonate. That login is found where Google's libraries look for it: the file that
 * GOOGLE_APPLICATION_CREDENTIALS names, the login of `gcloud auth application-default login`, or
 * the metadata service of a Google machine.
 */

import { readFile } from 'node:fs/promises'
import path from 'node:path'

import { z } from 'zod'

import { ProxyError } from '../../core/errors.js'
import type { Secret } from '../../core/secret.js'
import { decodeText } from '../../core/text-file.js'
import { pathPart } from '../http/workspace-host.js'
import {
  GOOGLE_ATTRIBUTES,
  GOOGLE_SCOPES,
  googleToken,
  googleWorkspaceToken,
  isGoogle,
  readGoogleToken,
  readServiceAccountKey,
  tokenOfKey,
} from './google.js'
import type { SignInMethod, TokenCall } from './sign-in-method.js'
import { readJson } from './token-reply.js'

export const googleId: SignInMethod = {
  type: 'google-id',
  attributes: GOOGLE_ATTRIBUTES,
  needs: 'DATABRICKS_GOOGLE_SERVICE_ACCOUNT, and a workspace on Google Cloud',
  configure(config) {
    const account = config.get('google_service_account')
    if (account === undefined || !isGoogle(config)) return undefined
    return {
      hint: `Check that you may impersonate ${account} (role Service Account Token Creator), and that it is in this workspace.`,
      async fetchToken(call) {
        const own = await applicationDefaultToken(call)
        const ask = (action: keyof typeof FIELDS, body: object): Promise<Secret> =>
          impersonate(account, action, body, own, call)
        const access = ask('generateAccessToken', { scope: GOOGLE_SCOPES }).catch(
          (error: unknown) => {
            call.log.debug({ err: error }, 'going on without a Google access token')
          },
        )
        const idToken = await ask('generateIdToken', { audience: config.host, includeEmail: true })
        return googleWorkspaceToken(idToken, (await access) ?? undefined, call.clock)
      },
    }
  },
}

const FIELDS = { generateIdToken: 'token', generateAccessToken: 'accessToken' } as const

/** https://cloud.google.com/iam/docs/reference/credentials/rest */
async function impersonate(
  account: string,
  action: keyof typeof FIELDS,
  body: object,
  own: Secret,
  { http, signal }: TokenCall,
): Promise<Secret> {
  const name = pathPart(account)
  const reply = await http.send({
    method: 'POST',
    url: new URL(
      `https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/${name}:${action}`,
    ),
    headers: { authorization: `Bearer ${own.reveal()}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal,
  })
  return readGoogleToken(reply, FIELDS[action], `for ${account}`)
}

const UserLogin = z.object({
  type: z.literal('authorized_user'),
  client_id: z.string(),
  client_secret: z.string(),
  refresh_token: z.string(),
})

async function applicationDefaultToken(call: TokenCall): Promise<Secret> {
  const file = call.env.GOOGLE_APPLICATION_CREDENTIALS || undefined
  const wellKnown = path.join(gcloudFolder(call), 'application_default_credentials.json')
  const bytes = await readFile(file ?? wellKnown).catch((error: unknown) => {
    if (file === undefined) return undefined
    throw new ProxyError(
      'config',
      'GOOGLE_APPLICATION_CREDENTIALS names no file that can be read',
      {
        cause: error,
      },
    )
  })
  if (bytes === undefined) return tokenOfMachine(call)
  const text = decodeText(bytes, file ?? wellKnown)
  const key = readServiceAccountKey(text)
  if (key !== undefined) return tokenOfKey(key, { scope: GOOGLE_SCOPES[0]! }, call)
  const login = readJson(text, UserLogin)
  if (login === undefined) {
    throw new ProxyError('config', `${file ?? wellKnown} holds no Google login that is supported`, {
      hint: 'Type: gcloud auth application-default login',
    })
  }
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    client_id: login.client_id,
    client_secret: login.client_secret,
    refresh_token: login.refresh_token,
  })
  const url = new URL('https://oauth2.googleapis.com/token')
  const who = 'the login of gcloud'
  return googleToken({ url, form, field: 'access_token', who }, call)
}

function gcloudFolder({ env, homeDir }: TokenCall): string {
  if (env.CLOUDSDK_CONFIG) return env.CLOUDSDK_CONFIG
  return env.APPDATA ? path.join(env.APPDATA, 'gcloud') : path.join(homeDir, '.config', 'gcloud')
}

/** https://cloud.google.com/compute/docs/metadata/overview */
async function tokenOfMachine({ http, signal }: TokenCall): Promise<Secret> {
  const url = new URL(
    'http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token',
  )
  url.searchParams.set('scopes', GOOGLE_SCOPES[0]!)
  const headers = { 'metadata-flavor': 'Google' }
  try {
    const reply = await http.send({ url, headers, toMachine: true, signal })
    return readGoogleToken(reply, 'access_token', 'for this machine')
  } catch (error) {
    if (!(error instanceof ProxyError) || error.kind !== 'credential') throw error
    throw new ProxyError('identity', 'no Google login was found on this machine', {
      cause: error,
      hint: 'Type: gcloud auth application-default login',
    })
  }
}
