/**
 * `databricks-cli`: the login of `databricks auth login`. Each token comes from the CLI; its
 * own store (a keyring, a file) is never read. When it refuses, the user sees its message and the
 * command that logs in.
 */

import { z } from 'zod'

import { ProxyError } from '../../core/errors.js'
import { plainText } from '../../core/plain-text.js'
import type { CommandResult } from './run-command.js'
import {
  type ConfigWithHost,
  NotConfigured,
  type SignInMethod,
  type TokenCall,
  type WorkspaceToken,
  workspaceToken,
} from './sign-in-method.js'
import { readJson } from './token-reply.js'

export const databricksCli: SignInMethod = {
  type: 'databricks-cli',
  attributes: [{ name: 'databricks_cli_path', env: ['DATABRICKS_CLI_PATH'] }],
  needs: 'the Databricks CLI and its login: databricks auth login',
  ambient: true,
  configure(config) {
    const command = config.get('databricks_cli_path') ?? 'databricks'
    const hint = `Log in with: databricks auth login ${target(config).join(' ')}`
    return {
      hint,
      program: `${command} auth token ${target(config).join(' ')}`,
      fetchToken: (call) => askCli(command, hint, config, call),
    }
  },
}

/** https://github.com/databricks/cli/pull/855: `auth token` knows --profile. */
const KNOWS_PROFILE = '0.207.1'
/** Without it, the CLI may hand out a token that is about to end. */
const KNOWS_FORCE_REFRESH = '0.296.0'

const CliToken = z.object({ access_token: z.string().min(1), expiry: z.string().nullish() })

async function askCli(
  command: string,
  hint: string,
  config: ConfigWithHost,
  { run, clock, signal }: TokenCall,
): Promise<WorkspaceToken> {
  const version = readVersion(await run(command, ['version'], signal), command)
  const named = isAtLeast(version, KNOWS_PROFILE) ? target(config) : ['--host', config.host]
  const args = ['auth', 'token', ...named]
  if (isAtLeast(version, KNOWS_FORCE_REFRESH)) args.push('--force-refresh')
  const result = await run(command, args, signal)
  if (result.exitCode !== 0) {
    const words = plainText(result.stderr || result.stdout) || `exit code ${result.exitCode}`
    throw new ProxyError('identity', `databricks ${args.join(' ')} gave no token: ${words}`, {
      hint,
    })
  }
  const token = readJson(result.stdout, CliToken)
  if (token === undefined) {
    throw new ProxyError('identity', `${command} auth token printed no token`, {
      hint: 'Run it by hand to see what it says, or update the Databricks CLI.',
    })
  }
  return workspaceToken(token.access_token, Date.parse(token.expiry ?? ''), clock)
}

/** Which login is meant: the profile's, else the host's. */
function target({ host, profile }: ConfigWithHost): string[] {
  return profile.name === undefined ? ['--host', host] : ['--profile', profile.name]
}

/** Errors: NotConfigured, when there is no Databricks CLI or only the legacy one in Python. */
function readVersion({ exitCode, stdout }: CommandResult, command: string): string {
  if (exitCode === undefined) throw new NotConfigured(`no program "${command}" on the PATH`)
  const version = /Databricks CLI v(\d+\.\d+\.\d+)/.exec(stdout)?.[1]
  if (exitCode !== 0 || version === undefined) {
    throw new NotConfigured(
      `the program "${command}" is not the Databricks CLI, or the legacy one: install a current one`,
    )
  }
  return version
}

function isAtLeast(version: string, wanted: string): boolean {
  return version.localeCompare(wanted, 'en', { numeric: true }) >= 0
}
