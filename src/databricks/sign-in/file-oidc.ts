/** `file-oidc`: an ID token in a file, as Kubernetes and CI systems keep one and replace it in time. */

import { readFile } from 'node:fs/promises'

import { SingleFlight, waitFor, withDeadline } from '../../core/deadline.js'
import { ProxyError } from '../../core/errors.js'
import { Secret } from '../../core/secret.js'
import { decodeText, readProblem } from '../../core/text-file.js'
import type { SignInMethod, TokenCall } from './sign-in-method.js'
import { federationHint, idTokenSignIn } from './token-exchange.js'

const READ_LIMIT_MS = 10_000

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
    // A read that hangs, as on a lost network volume, holds one of Node's few threads: one at a time.
    const reading = new SingleFlight(() => readIdToken(file))
    const source = {
      what: `the ID token in ${file}`,
      hint: `${federationHint(config)} The token in ${file} may also have expired.`,
      read: (_audience: unknown, { clock, signal }: TokenCall) =>
        withDeadline(
          { clock, ms: READ_LIMIT_MS, reason: () => slow(file), signals: [signal] },
          (limit) => waitFor(reading.join(), limit),
        ),
    }
    return idTokenSignIn(source, config)
  },
}

function slow(file: string): ProxyError {
  return new ProxyError('credential', `reading the ID token in ${file}: timeout expired`, {
    hint: 'Is it on a volume that does not answer?',
  })
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
