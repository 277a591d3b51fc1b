/** `file-oidc`: an ID token in a file, as Kubernetes and CI systems keep one and replace it in time. */

import { readFile } from 'node:fs/promises'

import { ProxyError } from '../../core/errors.js'
import { Secret } from '../../core/secret.js'
import { decodeText, readProblem } from '../../core/text-file.js'
import type { SignInMethod } from './sign-in-method.js'
import { federationHint, idTokenSignIn } from './token-exchange.js'

export const fileOidc: SignInMethod = {
  type: 'file-oidc',
  attributes: [
    {
      name: 'oidc_token_filepath',
      env: ['DATABRICKS_OIDC_TOKEN_FILEPATH', 'DATABRICKS_OIDC_TOKEN_FILE'],
      family: 'file-oidc',
    },
    // What the Go SDK calls the same in a profile.
    { name: 'databricks_id_token_filepath', env: [], family: 'file-oidc' },
  ],
  shares: ['client_id'],
  needs: 'DATABRICKS_OIDC_TOKEN_FILEPATH',
  configure(config) {
    const file = config.get('oidc_token_filepath') ?? config.get('databricks_id_token_filepath')
    if (file === undefined) return undefined
    const source = {
      what: `the ID token in ${file}`,
      hint: `${federationHint(config)} The token in ${file} may also have expired.`,
      read: () => readIdToken(file),
    }
    return idTokenSignIn(source, config)
  },
}

async function readIdToken(file: string): Promise<Secret> {
  // Not readFileSync: the volume that the token is mounted from may be slow.
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw new ProxyError('config', `cannot read the ID token in ${file}: ${readProblem(cause)}`, {
      cause,
      hint: 'Check DATABRICKS_OIDC_TOKEN_FILEPATH: the file must be there and readable.',
    })
  })
  const text = decodeText(bytes, file).trim()
  if (text === '') throw new ProxyError('identity', `the ID token file ${file} is empty`)
  return new Secret(text)
}
