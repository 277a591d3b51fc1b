/** `azure-devops-oidc`: the ID token of an Azure Pipelines job that maps `System.AccessToken`. */

import { z } from 'zod'

import { ProxyError } from '../../core/errors.js'
import { Secret } from '../../core/secret.js'
import { pathPart } from '../http/workspace-host.js'
import type { SignInMethod, TokenCall } from './sign-in-method.js'
import { federationHint, idTokenSignIn } from './token-exchange.js'
import { readTokenReply } from './token-reply.js'

const PARTS = {
  devops_collection_uri: 'SYSTEM_TEAMFOUNDATIONCOLLECTIONURI',
  devops_project_id: 'SYSTEM_TEAMPROJECTID',
  devops_host_type: 'SYSTEM_HOSTTYPE',
  devops_plan_id: 'SYSTEM_PLANID',
  devops_job_id: 'SYSTEM_JOBID',
} as const

export const azureDevopsOidc: SignInMethod = {
  type: 'azure-devops-oidc',
  attributes: [
    { name: 'devops_access_token', env: ['SYSTEM_ACCESSTOKEN'], sensitive: true },
    ...Object.entries(PARTS).map(([name, variable]) => ({ name, env: [variable] })),
  ],
  needs: 'a job of Azure Pipelines with SYSTEM_ACCESSTOKEN: $(System.AccessToken) in its env',
  ambient: true,
  configure(config) {
    const accessToken = config.secret('devops_access_token')
    const [collection, project, hub, plan, job] = Object.keys(PARTS).map((name) => config.get(name))
    if (!accessToken || !collection || !project || !hub || !plan || !job) return undefined
    // The parts are ids; made so that none can lead elsewhere on the server.
    const [p, h, l, j] = [project, hub, plan, job].map(pathPart)
    const url = `${collection.replace(/(?<!\/)\/+$/, '')}/${p}/_apis/distributedtask/hubs/${h}/plans/${l}/jobs/${j}/oidctoken?api-version=7.2-preview.1`
    const source = {
      what: 'the ID token of Azure Pipelines',
      hint: federationHint(config),
      read: (_audience: unknown, call: TokenCall) => requestIdToken(url, accessToken, call),
    }
    return idTokenSignIn(source, config)
  },
}

/** https://learn.microsoft.com/rest/api/azure/devops/distributedtask/oidctoken/create */
async function requestIdToken(
  url: string,
  accessToken: Secret,
  { http, signal }: TokenCall,
): Promise<Secret> {
  if (!URL.canParse(url)) {
    throw new ProxyError('identity', 'SYSTEM_TEAMFOUNDATIONCOLLECTIONURI is not a URL')
  }
  const reply = await http.send({
    method: 'POST',
    url: new URL(url),
    headers: {
      authorization: `Bearer ${accessToken.reveal()}`,
      'content-type': 'application/json',
    },
    body: '',
    signal,
  })
  const hint = 'Map the token into the task: env: SYSTEM_ACCESSTOKEN: $(System.AccessToken).'
  const { oidcToken } = readTokenReply(reply, IdToken, 'Azure Pipelines gave no ID token', hint)
  return new Secret(oidcToken)
}

const IdToken = z.object({ oidcToken: z.string().min(1) })
