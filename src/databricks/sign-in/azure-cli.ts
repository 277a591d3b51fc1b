/** `azure-cli`: the login of `az login`. The Azure CLI is asked for a token each time. */

import { z } from 'zod'

import { ProxyError } from '../../core/errors.js'
import { plainText } from '../../core/plain-text.js'
import { AZURE_ATTRIBUTES, findTenant, isAzure, withManagementToken } from './azure.js'
import type { CommandResult } from './run-command.js'
import {
  NotConfigured,
  type SignInMethod,
  type TokenCall,
  type WorkspaceToken,
  workspaceToken,
} from './sign-in-method.js'
import { readJson } from './token-reply.js'

export const azureCli: SignInMethod = {
  type: 'azure-cli',
  attributes: AZURE_ATTRIBUTES,
  needs: 'the Azure CLI and its login (az login), and an Azure workspace',
  ambient: true,
  configure(config) {
    if (!isAzure(config)) return undefined
    const hint = 'Log in with: az login'
    return {
      hint,
      program: 'az account get-access-token',
      async fetchToken(call) {
        const tenant = await findTenant(config, call).catch(() => undefined)
        const subscription = subscriptionOf(config.get('azure_workspace_resource_id'))
        const scopes = [
          ...(tenant === undefined ? subscription : [['--tenant', tenant]]),
          // A managed identity takes no tenant, and not every user of the workspace sees the subscription.
          [],
        ]
        return withManagementToken(config, call, (resource) => askCli(resource, scopes, hint, call))
      },
    }
  },
}

const CliToken = z.object({
  accessToken: z.string().min(1),
  expiresOn: z.string().nullish(),
  expires_on: z.number().nullish(),
})

/** `--subscription` from `/subscriptions/<id>/resourceGroups/…`. */
function subscriptionOf(resourceId: string | undefined): string[][] {
  const subscription = resourceId?.split('/')[2]
  return subscription === undefined ? [] : [['--subscription', subscription]]
}

/** Tries the narrowest scope first. The error is that of the last try. */
async function askCli(
  resource: string,
  scopes: readonly (readonly string[])[],
  hint: string,
  call: TokenCall,
): Promise<WorkspaceToken> {
  let result: CommandResult | undefined
  for (const scope of scopes) {
    const args = ['account', 'get-access-token', '--resource', resource, '--output', 'json']
    result = await call.run('az', [...args, ...scope], call.signal)
    if (result.exitCode === undefined) throw new NotConfigured('no program "az" on the PATH')
    if (result.exitCode === 0) return readToken(result.stdout, call)
  }
  throw new ProxyError(
    'identity',
    `az account get-access-token gave no token: ${plainText(result?.stderr ?? '')}`,
    { hint },
  )
}

function readToken(stdout: string, { clock }: TokenCall): WorkspaceToken {
  const token = readJson(stdout, CliToken)
  if (token === undefined) {
    throw new ProxyError('identity', 'az account get-access-token printed no token', {
      hint: 'Run it by hand to see what it says, or update the Azure CLI.',
    })
  }
  const { accessToken, expiresOn, expires_on: epoch } = token
  const expiresAt = epoch ? epoch * 1000 : localTime(expiresOn ?? '')
  return workspaceToken(accessToken, expiresAt, clock)
}

/** `2026-01-02 15:04:05.999999`: this machine's time, without a zone. */
function localTime(text: string): number {
  return Date.parse(
    text
      .trim()
      .replace(' ', 'T')
      .replace(/(\.\d{3})\d+$/, '$1'),
  )
}
