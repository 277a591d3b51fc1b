/** The one target a command works on, where the settings may name several. */

import type { Config } from '../config/config.js'
import type { ProxySettings, TargetSettings } from '../config/settings.js'
import { ProxyError } from '../errors.js'
import type { ConfigRequest, Invocation } from './command.js'

export interface OneTarget {
  readonly config: Config
  readonly target: TargetSettings
}

/**
 * A TARGET that is one of those configured means that one, with its port and all it has; else it
 * is a target of its own. Errors: kind `config`.
 */
export async function oneTarget(
  invocation: Pick<Invocation, 'operands' | 'loadConfig'>,
  pickTarget?: ConfigRequest['pickTarget'],
): Promise<OneTarget> {
  const [named] = invocation.operands
  if (named !== undefined) {
    const configured = await invocation.loadConfig({ targets: [], targetOptional: true })
    const listed = configured.settings.targets.find((target) => target.name === named)
    if (listed !== undefined) return { config: configured, target: listed }
  }
  const config = await invocation.loadConfig({ pickTarget })
  return { config, target: onlyTarget(config.settings) }
}

function onlyTarget(settings: ProxySettings): TargetSettings {
  const [target, ...others] = settings.targets
  if (target !== undefined && others.length === 0) return target
  const names = settings.targets.map(({ name }) => name).join(', ')
  throw new ProxyError('config', 'several targets are configured', {
    hint: `Name one of them: ${names}.`,
  })
}
