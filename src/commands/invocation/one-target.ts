/** The one target a command works on, where the settings may name several. */

import type { Config } from '../../config/resolve/config.js'
import { targetCalled } from '../../config/resolve/routing.js'
import type { ProxySettings, TargetSettings } from '../../config/resolve/settings.js'
import { ProxyError } from '../../core/errors.js'
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
    const listed = await configuredTarget(named, invocation)
    if (listed !== undefined) return listed
  }
  const config = await invocation.loadConfig({ pickTarget })
  return { config, target: onlyTarget(config.settings) }
}

/** Undefined also when what is configured is wrong: it is not what was asked for. */
async function configuredTarget(
  name: string,
  { loadConfig }: Pick<Invocation, 'loadConfig'>,
): Promise<OneTarget | undefined> {
  try {
    const config = await loadConfig({ targets: [], targetOptional: true, notice() {} })
    const target = targetCalled(config.settings.targets, name)
    return target && { config, target }
  } catch (error) {
    if (error instanceof ProxyError && error.kind === 'config') return undefined
    throw error
  }
}

function onlyTarget(settings: ProxySettings): TargetSettings {
  const [target, ...others] = settings.targets
  if (target !== undefined && others.length === 0) return target
  // With `branch-from`, the only target on the new branch is meant.
  const onNewBranch = settings.targets.filter((each) =>
    settings.newBranch?.targets.includes(each.name),
  )
  if (onNewBranch.length === 1) return onNewBranch[0]!
  const names = settings.targets.map(({ name }) => name).join(', ')
  throw new ProxyError('config', 'several targets are configured', {
    hint: `Name one of them: ${names}.`,
  })
}
